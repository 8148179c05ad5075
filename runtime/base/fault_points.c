/* fault_points.c: the table of fault points. VERB_send: a store's verb is about to be sent;
 * VERB_done: the store has done it, nobody here has looked at the answer. Races: rows of the table
 * in docs/reliability.md. A verb that only reads can only fail or lose its answer. */
#include "base/fault.h"

#define CLI        FAULT_CLI
#define SUPERVISOR FAULT_SUPERVISOR
#define RUNNER     FAULT_RUNNER
#define CHECKER    FAULT_CHECKER
#define ISOLATED   FAULT_ISOLATED

#define DIES FAULT_KILL | FAULT_STOP
#define SEND FAULT_KILL | FAULT_STOP | FAULT_ERROR
#define DONE FAULT_KILL | FAULT_STOP | FAULT_LOSE

const struct fault_point fault_points[] = {
    /* in */
    { "catalogue_find_send", "", CLI, FAULT_ERROR, "the catalogue cannot be asked about a task" },
    { "insert_send", "4", CLI, SEND | FAULT_ALLOC, "a checked task is about to be inserted" },
    { "insert_done", "1 2", CLI, DONE, "the insert has committed, the submitter is not told" },
    { "push_send", "1 4 25", CLI | RUNNER | SUPERVISOR, SEND,
      "rows are committed, their hints are about to be pushed" },
    { "push_done", "33", CLI | RUNNER | SUPERVISOR, DONE,
      "hints are in Redis, who pushed them does not know" },

    /* run */
    { "claim_send", "6 7", RUNNER | SUPERVISOR, SEND | FAULT_ALLOC, "hints are about to be taken" },
    { "claim_done", "5 12", RUNNER | SUPERVISOR, DONE,
      "hints are noted for one that does not know" },
    { "start_send", "9", RUNNER | ISOLATED, SEND | FAULT_ALLOC,
      "claimed hints are about to be started" },
    { "start_done", "10 11", RUNNER | ISOLATED, DONE,
      "starts have committed, their runner does not know" },
    { "settle_send", "22 23", RUNNER | ISOLATED | SUPERVISOR, SEND,
      "tasks are started, their hints still in Redis" },
    { "settle_done", "22 23", RUNNER | ISOLATED | SUPERVISOR, DONE,
      "hints are settled, nobody knows" },
    { "run_resume", "11 15", RUNNER | ISOLATED, DIES | FAULT_SEGV,
      "a task is on the CPU: who dies here is charged a loss (subject: the task's name)" },
    { "progress_send", "19", RUNNER, SEND, "progress is about to be written" },
    { "progress_done", "19", RUNNER, DONE, "progress is written, the runner does not know" },
    { "log_send", "21", RUNNER, SEND, "log lines are about to be written" },
    { "log_done", "21", RUNNER, DONE, "log lines are written, the runner does not know" },
    { "subprocess_kill", "15", RUNNER, DIES, "a run's subprocesses are about to be killed" },
    { "tempdir_remove", "15", RUNNER, DIES | FAULT_ERROR,
      "a run's directory is about to be removed" },

    /* out */
    { "finish_success_send", "13 21", RUNNER | ISOLATED, SEND | FAULT_ALLOC,
      "successes are about to be written" },
    { "finish_success_done", "20", RUNNER | ISOLATED, DONE,
      "successes have committed, nobody knows" },
    { "finish_send", "13 21 53", RUNNER, SEND | FAULT_ALLOC,
      "failures, retries and releases are about to be written" },
    { "finish_done", "20 24 25", RUNNER, DONE,
      "they have committed, neither Redis nor the keeper is told" },
    { "finish_look_send", "20", RUNNER, SEND, "what a finish without an answer had done is asked" },
    { "finish_look_done", "20", RUNNER, DONE, "it is answered, the answer is not read" },
    { "hook_run", "", RUNNER, DIES, "an outcome is committed, its hook is about to run" },
    { "hook_done_send", "", RUNNER, SEND, "a hook has run, its mark still stands" },
    { "hook_done_done", "", RUNNER, DONE, "its mark is cleared, the runner does not know" },
    { "hooks_take_send", "", RUNNER, SEND, "marks of the dead are about to be taken" },
    { "hooks_take_done", "", RUNNER, DONE, "marks are taken, their new owner does not know" },
    { "grace_over", "53", RUNNER, DIES, "what did not end in time is about to be given back" },

    /* workers */
    { "worker_register_send", "16", SUPERVISOR | RUNNER | ISOLATED, SEND,
      "a process has no row yet" },
    { "worker_register_done", "16", SUPERVISOR | RUNNER | ISOLATED, DONE,
      "its row stands, it does not know" },
    { "child_spawn", "16", SUPERVISOR, DIES | FAULT_ERROR, "a runner is about to be started" },
    { "isolated_spawn", "5", SUPERVISOR, DIES | FAULT_ERROR,
      "a hint is taken, the process for its task is about to be started" },
    { "child_reaped", "15 16", SUPERVISOR, DIES,
      "a runner is dead, what it had started is still there" },
    { "fence", "13 15 16 17", SUPERVISOR | RUNNER, DIES,
      "a process has found itself given up, what it had started is still there" },
    { "release_unclaimed_send", "10", RUNNER, SEND,
      "rows that a runner should run and does not are about to be given back" },
    { "release_unclaimed_done", "10", RUNNER, DONE, "they are given back, their hints not pushed" },
    { "heartbeat_send", "14 32", SUPERVISOR, SEND, "heartbeats are about to be renewed" },
    { "heartbeat_done", "14 17", SUPERVISOR, DONE, "heartbeats are renewed, the answer not read" },
    { "declare_dead_send", "31 50", SUPERVISOR, SEND, "rows of the dead are about to be released" },
    { "declare_dead_done", "24 31", SUPERVISOR, DONE, "they are released, nobody was told" },
    { "control_take_send", "", SUPERVISOR, FAULT_ERROR, "requests cannot be read" },
    { "control_answer_send", "", SUPERVISOR, SEND, "a request is done and not answered" },
    { "drain", "53", SUPERVISOR, DIES, "SIGTERM was heard, no runner knows" },
    { "worker_gone_send", "16", SUPERVISOR, SEND, "a worker that leaves still has its row" },

    /* code */
    { "checker_load", "52", CHECKER, FAULT_KILL | FAULT_SEGV | FAULT_ALLOC,
      "the files of tasks.d are about to be read" },
    { "checker_answer", "52", CHECKER, FAULT_KILL, "they are checked, nobody knows" },
    { "reload_checked", "52", SUPERVISOR, DIES | FAULT_ALLOC,
      "the new code is known, no runner has it" },
    { "generation_load", "52", RUNNER | ISOLATED, DIES | FAULT_ERROR | FAULT_ALLOC,
      "a runner is about to take the new code" },
    { "catalogue_publish_send", "52", SUPERVISOR, SEND,
      "runners serve the new code, the catalogue shows the old" },
    { "catalogue_publish_done", "52", SUPERVISOR, DONE, "the catalogue is written, unknown here" },

    /* keeper */
    { "keeper_beat_send", "35", SUPERVISOR, SEND, "the keeper is about to beat" },
    { "keeper_beat_done", "35", SUPERVISOR, DONE, "it leads and does not know" },
    { "pulse_send", "32", SUPERVISOR, FAULT_ERROR, "heartbeats cannot be looked at" },
    { "due_send", "24", SUPERVISOR, FAULT_ERROR, "what is due cannot be read" },
    { "due_done", "24 33 34", SUPERVISOR, DONE, "a page of due rows is read, not pushed" },
    { "present_send", "1", SUPERVISOR, FAULT_ERROR, "Redis cannot be asked for absent hints" },
    { "present_done", "1 33", SUPERVISOR, DONE, "absent hints are known, not pushed" },
    { "epoch_get_send", "36", SUPERVISOR, FAULT_ERROR, "Redis cannot be asked for its epoch" },
    { "epoch_get_done", "36", SUPERVISOR, DONE, "it has said its epoch, the answer is not read" },
    { "epoch_begin_send", "36", SUPERVISOR, SEND, "Redis has lost data, that is not noted yet" },
    { "epoch_begin_done", "36", SUPERVISOR, DONE, "it is noted, nothing is pushed" },
    { "epoch_set_send", "36", SUPERVISOR, SEND, "everything is pushed, the epoch is not set" },
    { "epoch_set_done", "36", SUPERVISOR, DONE, "the epoch is set, its keeper does not know" },
    { "sweep_send", "10 29", SUPERVISOR, SEND, "rows owned by the dead are about to be swept" },
    { "sweep_done", "10 29", SUPERVISOR, DONE, "they are swept, their hints not pushed" },
    { "unknown_send", "52", SUPERVISOR, SEND, "tasks nobody carries are about to be ended" },
    { "partitions_send", "", SUPERVISOR, SEND, "partitions are about to be made" },
    { "prune_week_send", "", SUPERVISOR, SEND, "old results are about to be dropped" },

    /* operators */
    { "cancel_send", "27 28", CLI, SEND, "a cancel is about to be written" },
    { "cancel_done", "27 28", CLI, DONE, "it is written, neither Redis nor a runner is told" },
    { "forget_send", "27", CLI, SEND, "the hint of a cancelled task is about to go" },
    { "retry_send", "51", CLI, SEND, "a new round is about to be made" },
    { "retry_done", "24 51", CLI, DONE, "it is made, no hint is pushed" },
    { "delete_send", "", CLI, SEND, "a final task is about to be deleted" },
    { "delete_done", "", CLI, DONE, "it is deleted, the operator is not told" },
    { 0 }
};
