/* task.pml: the life of one task, two runners, the ledger, the hints, and what may break.
 *
 * Each statement of the ledger and each script of the broker is one atomic step, named after the
 * function that holds it; between two steps anybody may act, crash or be suspended. Time is not
 * counted: whatever takes a while (a lease, a back-off, a poll) may come at any moment, except that
 * a lease passes only over somebody who is silent. docs/model.md says what is left out and why.
 *
 * Bounds and planted mistakes come from outside as -D; tests/model/test_model.py knows them. */

/* ---- bounds: how often each fault or wish may come ---- */
#ifndef CRASHES
#define CRASHES 1 /* a runner dies; its supervisor sees it, or dies with it */
#endif
#ifndef SUSPENDS
#define SUSPENDS 1 /* a worker stands still, is taken for dead or not, and may wake */
#endif
#ifndef LOST
#define LOST 1 /* a start's or finish's answer is lost; the statement may have run, or run later */
#endif
#ifndef WIPES
#define WIPES 1 /* Redis loses everything, or one hint, or comes back with older data */
#endif
#ifndef CANCELS
#define CANCELS 1
#endif
#ifndef ROUNDS
#define ROUNDS 2 /* operator retries + 1 */
#endif
#ifndef GIVEN_BACK
#define GIVEN_BACK 1 /* snoozes, and releases at a drain */
#endif
#ifndef PAUSES
#define PAUSES 0
#endif
#ifndef PUSHERS
#define PUSHERS 1
#endif
#ifndef RETRY_MAX
#define RETRY_MAX 1
#endif
#define MAX_LOSSES 2      /* tasks.max_losses, 3 by default */
#define UNWITNESSED_MAX 2 /* 10 in release_rows() */

#define BIT(n) (1 << (n))
#define NOBODY 0
#define NO_CLAIM 0
#define INCARNATIONS (2 + CRASHES + SUSPENDS)

/* ---- the ledger: runtime/ledger/schema_tables.c ---- */
mtype = { ABSENT, WAITING, STARTED, ENDED }; /* WAITING: PENDING and RETRY, no statement differs */
mtype row = ABSENT;
byte starts, claim, owner;
bit cancel_at;
byte failures, losses, unwitnessed, round;
bit paused;
mtype = { NONE, SUCCESS, FAILURE, REVOKED, FAILED, RELEASED };
mtype status = NONE; /* of the newest outcome */
byte dead;           /* workers.state <> 'alive', a bit for each incarnation */

/* ---- Redis: runtime/broker/scripts.c; one id, so each key holds one thing ---- */
#define PARKED 3
bit hint_waits;   /* in the sorted set of its queue */
byte hint_starts; /* in :starts; 0: none */
byte hint_token;  /* in :claimed; 0: none, 1 and 2: a runner's, PARKED: nobody's, for later */

/* ---- two workers, each a supervisor with one runner of one slot ---- */
mtype = { IDLE, STARTING, RUNNING, FINISHING };
mtype phase[2] = IDLE;
mtype = { TO_RUN, NOT_DUE, STALE, OWNER_DEAD, DONE, FENCED };
mtype verdict; /* of the statement in this step */
mtype ending[2] = NONE;  /* how the run ended */
byte incarnation[2];     /* 1.., a replacement gets the next number */
byte hint[2];            /* starts of the hint held */
byte mine[2];            /* the claim made for it */
bit alive_seen[2];       /* what the start's snapshot said of its owner */
bit suspended[2];
byte next_incarnation = 3;
byte silent;             /* incarnations that have not beaten for a lease */
byte watched;            /* the one whose counter the keeper saw standing still */
bit moved;               /* its counter moved since */
byte noted, noted_claim; /* a death that a supervisor saw, and the culprit's claim */
bit noted_timeout;

/* ---- a statement on a connection that broke: it may still run, at any time ---- */
mtype late = NONE; /* NONE, STARTING, FINISHING */
mtype late_end = NONE;
byte late_by, late_incarnation, late_hint, late_claim, late_began;
bit late_alive;

/* ---- what only the checks look at ---- */
bit accepted;          /* the submitter was told so */
bit is_open;           /* the newest start has not ended */
byte ended_rounds;     /* a bit for each round with a final event */
bit is_lost[2];        /* the run's owner was declared dead and its row given back */
byte began[2];         /* number of the start that a runner runs */
bit written[2];        /* the finish of this claim is in the ledger by the runner's own doing */
byte redis_counter;

bit forgets;           /* a cancel's script_forget is under way */
byte crashes, suspends, lost, wipes, cancels, pauses, given_back;

#define is_up(w) (!suspended[w])
#define is_alive(i) (!(dead & BIT(i)))

inline late_forget()
{
    late = NONE; late_end = NONE; late_by = 0; late_incarnation = 0; late_hint = 0;
    late_claim = NO_CLAIM; late_alive = 0; late_began = 0
}

/* What can change nothing any more is as good as gone: fewer states. Starts only go up, and a claim
 * that the row has lost never comes back. */
inline forget_the_harmless()
{
    if
    :: late == STARTING && starts > late_hint -> late_forget()
    :: late == FINISHING && claim != late_claim -> late_forget()
    :: else
    fi;
    noted_claim = (noted_claim == claim -> noted_claim : NO_CLAIM);
    noted_timeout = noted_timeout && noted_claim
}

/* What must hold after every statement. */
inline check_row()
{
    assert(row != WAITING || (claim == NO_CLAIM && owner == NOBODY));  /* a waiting row is nobody's */
    assert(row != WAITING || !cancel_at);                              /* rule 9: it would be REVOKED */
    assert(row != STARTED || (claim != NO_CLAIM && owner != NOBODY));
    assert(row != WAITING || (failures <= RETRY_MAX && losses < MAX_LOSSES)); /* I3: budgets */
    assert((row == STARTED) == is_open);                               /* I3: one end for each start */
    forget_the_harmless()
}

/* One row into attempts or, with the last start, into outcomes. */
inline start_ends()
{
    assert(is_open); /* I3: exactly one end */
    is_open = 0
}

/* INSERT INTO outcomes (id, round), DELETE FROM active. */
inline end_round(became)
{
    assert(failures <= RETRY_MAX + 1 && losses <= MAX_LOSSES); /* I3: budgets */
    assert(!(ended_rounds & BIT(round))); /* I2 */
    ended_rounds = ended_rounds | BIT(round);
    status = became;
    row = ENDED; claim = NO_CLAIM; owner = NOBODY; cancel_at = 0;
    failures = 0; losses = 0; unwitnessed = 0 /* nothing asks the outcome for them */
}

inline wait_again()
{
    row = WAITING; claim = NO_CLAIM; owner = NOBODY
}

#define overlaps_no(w) (phase[w] != RUNNING || is_lost[w])

/* runtime/ledger/start.c:ledger_start, the UPDATE: snapshot before, decision on the newest row. */
inline ledger_start(by, from, for_claim, by_incarnation, owner_was_alive)
{
    if
#ifndef NO_OWNER_TEST
    :: !owner_was_alive -> verdict = OWNER_DEAD
#endif
#ifdef NO_OWNER_TEST
    :: 0
#endif
    :: else ->
        if
        :: row == STARTED && claim == for_claim && starts == from + 1 -> verdict = TO_RUN
#ifdef REDIS_COUNTER_FENCE
        :: row == WAITING && !cancel_at && !paused ->
#else
        :: row == WAITING && starts == from && !cancel_at && !paused ->
#endif
            assert(overlaps_no(0)); /* I5: whoever still runs it was declared lost before */
            assert(overlaps_no(1)); /* I5 */
            assert(!is_open); /* I3: the start before it has its end */
            is_open = 1;
            starts++;
            row = STARTED; claim = for_claim; owner = by_incarnation;
            if
            :: mine[by] == for_claim -> began[by] = starts
            :: else
            fi;
            verdict = TO_RUN
        :: row == WAITING && starts == from && paused -> verdict = NOT_DUE
        :: else -> verdict = STALE
        fi
    fi;
    check_row()
}

/* runtime/ledger/finish.c:ledger_finish, FINISH and FINISH_SUCCESS; 0 rows: LOOK by claim. */
inline ledger_finish(by, for_claim, number, how)
{
    if
#ifdef NO_CLAIM_GUARD
    :: row == STARTED ->
#else
    :: row == STARTED && claim == for_claim ->
#endif
        assert(number == starts); /* I4: the result is that of the last start */
        start_ends();
        if
        :: mine[by] == for_claim -> written[by] = 1
        :: else
        fi;
        if
        :: how == SUCCESS -> end_round(SUCCESS)
        :: how != SUCCESS && cancel_at -> end_round(REVOKED)
        :: how == FAILED && !cancel_at ->
            failures++;
            if
            :: failures > RETRY_MAX -> end_round(FAILURE)
            :: else -> wait_again()
            fi
        :: how == RELEASED && !cancel_at -> wait_again()
        fi;
        verdict = DONE
    :: else ->
#ifdef FINISH_WITHOUT_LOOK
        verdict = FENCED
#else
        verdict = (mine[by] == for_claim && written[by] -> DONE : FENCED)
#endif
    fi;
    check_row()
}

/* runtime/ledger/schema_ends.c:release_rows. */
inline release_row(culprit, is_timeout, is_unwitnessed)
{
    start_ends();
    is_lost[0] = is_lost[0] || (began[0] == starts && !is_alive(owner));
    is_lost[1] = is_lost[1] || (began[1] == starts && !is_alive(owner));
    unwitnessed = unwitnessed + is_unwitnessed;
    if
    :: claim == culprit && is_timeout -> failures++
    :: claim == culprit && !is_timeout -> losses++
    :: else
    fi;
    if
#ifndef RELEASE_IGNORES_CANCEL
    :: cancel_at -> end_round(REVOKED)
#endif
    :: else ->
        if
        :: claim == culprit && is_timeout && failures > RETRY_MAX -> end_round(FAILURE)
        :: claim == culprit && !is_timeout && losses >= MAX_LOSSES -> end_round(FAILURE)
        :: is_unwitnessed && unwitnessed >= UNWITNESSED_MAX -> end_round(FAILURE)
        :: else -> wait_again()
        fi
    fi;
    check_row()
}

/* runtime/ledger/schema_ends.c:declare_dead; its rows go back in the same transaction. */
inline declare_dead(who, culprit, is_timeout, is_unwitnessed)
{
    dead = dead | BIT(who);
    silent = silent & ~BIT(who);
    if
    :: row == STARTED && owner == who -> release_row(culprit, is_timeout, is_unwitnessed)
    :: else
    fi
}

/* ---- the broker's scripts ---- */

/* script_push; runtime/broker/broker.c:broker_push */
inline broker_push(from)
{
    assert(row != ABSENT && from <= starts); /* I8 */
    if
    :: hint_token && hint_starts >= from
    :: !hint_token && hint_starts > from && hint_waits
    :: else -> hint_token = 0; hint_starts = from; hint_waits = 1
    fi
}

/* script_settle: what is not claimed by this token is left alone. Nobody waits for its answer, so
 * it may be lost. */
inline broker_settle(by, drop)
{
    if
    :: hint_token == by + 1 && drop -> hint_token = 0; hint_starts = 0
    :: hint_token == by + 1 && !drop -> hint_token = PARKED
    :: 1
    fi
}

/* script_present */
#define hint_present ((hint_token || hint_waits) && hint_starts >= starts)

/* A random claim is one that nothing else holds. */
byte fresh;
inline claim_new(w)
{
#ifdef REDIS_COUNTER_FENCE
    redis_counter++;
    mine[w] = redis_counter;
#else
    mine[w] = NO_CLAIM;
    fresh = w + 1;
    do
    :: fresh == claim || fresh == mine[0] || fresh == mine[1] || fresh == late_claim ||
       fresh == noted_claim -> fresh = fresh + 2
    :: else -> break
    od;
    mine[w] = fresh; fresh = 0
#endif
}

/* ---- the worker ---- */

/* What was under way on the connection is dropped, or runs later. */
inline connection_breaks(w)
{
    if
    :: late == NONE && (phase[w] == STARTING && hint[w] == starts ||
                        phase[w] == FINISHING && mine[w] == claim) ->
        late = phase[w]; late_by = w; late_incarnation = incarnation[w]; late_hint = hint[w];
        late_claim = mine[w]; late_alive = alive_seen[w]; late_end = ending[w];
        late_began = began[w]
    :: 1
    fi
}

/* What was sent on an older connection is over once a newer one has answered: docs/model.md. */
inline late_answered(w)
{
#ifndef LATE_AFTER_ANSWER
    if
    :: late == STARTING && late_claim == mine[w] -> late_forget()
    :: else
    fi
#else
    skip
#endif
}

/* A start reads its owner's state when it begins (the snapshot) and the row when it has its lock;
 * in between, and before the answer, anything may happen to the runner. */
inline start_send(w)
{
    alive_seen[w] = is_alive(incarnation[w]); phase[w] = STARTING
}

inline slot_free(w)
{
    phase[w] = IDLE; ending[w] = NONE; hint[w] = 0; mine[w] = NO_CLAIM;
    alive_seen[w] = 0; began[w] = 0; written[w] = 0; is_lost[w] = 0
}

/* The process is no more; a replacement registers (runtime/worker/runner.c:on_registered). */
inline runner_ends(w)
{
    if
    :: is_alive(incarnation[w]) -> silent = silent | BIT(incarnation[w])
    :: else
    fi;
    slot_free(w);
    incarnation[w] = next_incarnation;
    next_incarnation++;
    suspended[w] = 0
}

/* Postgres works whether or not the runner stands still. Nothing here stops a zombie, a runner whose
 * claim is no longer the row's: only the ledger does. */
proctype Runner(bit w)
{
end:
    do
    /* runtime/lifecycle/claim.c:on_wake, starts.c:flush_starts; script_claim */
    :: atomic {
        phase[w] == IDLE && is_up(w) && hint_waits ->
        hint_waits = 0; hint_token = w + 1; hint[w] = hint_starts;
        claim_new(w);
        start_send(w)
    }
    /* starts.c:on_started */
    :: atomic {
        phase[w] == STARTING ->
        ledger_start(w, hint[w], mine[w], incarnation[w], alive_seen[w]);
        if
        :: lost < LOST -> /* no answer: the same claim again (starts.c:on_repeat) */
            lost++;
#ifdef NEW_CLAIM_ON_REPEAT
            claim_new(w);
#endif
            start_send(w)
        :: 1 ->
            late_answered(w);
            if
            :: verdict == OWNER_DEAD -> runner_ends(w) /* owner.fenced */
            :: verdict == NOT_DUE -> broker_settle(w, 0); slot_free(w)
            :: verdict == STALE -> broker_settle(w, 1); slot_free(w)
            :: verdict == TO_RUN -> /* starts.c:hints_started -> slot.c:slot_open */
                broker_settle(w, 1); alive_seen[w] = 0; phase[w] = RUNNING
            fi
        fi;
        verdict = 0
    }
    /* runtime/worker/slot.c:on_ended, runtime/task/outcome.c:outcome_decide */
    :: atomic {
        phase[w] == RUNNING && is_up(w) ->
        if
        :: ending[w] = SUCCESS
        :: ending[w] = FAILED
        :: given_back < GIVEN_BACK -> given_back++; ending[w] = RELEASED /* snoozed, or drained */
        :: cancel_at -> ending[w] = REVOKED /* it heard of it: beat.c:pass_cancels_on */
        fi;
        phase[w] = FINISHING /* runtime/lifecycle/settle.c:flight_send */
    }
    /* slot.c:on_settled */
    :: atomic {
        phase[w] == FINISHING ->
        ledger_finish(w, mine[w], began[w], ending[w]);
        if
        :: lost < LOST -> lost++ /* no answer: again (settle.c:on_repeat) */
        :: 1 ->
            assert(verdict != FENCED || !written[w]); /* told "fenced" although it was done */
            slot_free(w)
        fi;
        verdict = 0
    }
    od
}

/* A supervisor beats for its runner, and kills it when its row is no longer alive:
 * runtime/worker/beat.c:on_beat_timer, fence_the_dead. Only a beat that somebody waits for is one. */
#define beats(w)                                                                                   \
    (is_up(w) && is_alive(incarnation[w]) &&                                                       \
     ((silent & BIT(incarnation[w])) || (watched == incarnation[w] && !moved)))
inline beat(w)
{
    silent = silent & ~BIT(incarnation[w]);
    moved = (watched == incarnation[w] -> 1 : moved)
}

proctype Supervisors()
{
end:
    do
    :: atomic { beats(0) -> beat(0) }
    :: atomic { beats(1) -> beat(1) }
    :: atomic { is_up(0) && !is_alive(incarnation[0]) -> connection_breaks(0); runner_ends(0) }
    :: atomic { is_up(1) && !is_alive(incarnation[1]) -> connection_breaks(1); runner_ends(1) }
    /* It saw its runner end: runtime/worker/death.c:death_write. */
    :: atomic {
        noted ->
        declare_dead(noted, noted_claim, noted_timeout, 0);
        noted = 0; noted_claim = NO_CLAIM; noted_timeout = 0
    }
    od
}

#define stands_still(i) ((silent & BIT(i)) && is_alive(i))

/* Two keepers at once do no more than one: each of these is one compare-and-set. */
proctype Keeper()
{
end:
    do
    /* runtime/keeper/pulse.c:look_at: a lease has passed over a counter; then compare-and-set on it.
     * A living worker beats within the lease, so the lease only passes over a silent one. */
    :: atomic {
        !watched && silent ->
        if
        :: stands_still(1) -> watched = 1
        :: stands_still(2) -> watched = 2
        :: stands_still(3) -> watched = 3
        :: stands_still(4) -> watched = 4
        :: stands_still(5) -> watched = 5
        :: stands_still(6) -> watched = 6
        fi;
        moved = 0
    }
    :: atomic {
        watched ->
        if
#ifdef DEATH_BY_TIMESTAMP
        :: is_alive(watched) ->
#else
        :: is_alive(watched) && !moved ->
#endif
            assert(!moved); /* declared dead although its heartbeat moved */
            declare_dead(watched, NO_CLAIM, 0, 1)
        :: else
        fi;
        watched = 0; moved = 0
    }
    /* runtime/ledger/schema_ends.c:sweep; runtime/keeper/round.c:round_begin */
#ifndef NO_SWEEP
    :: atomic { row == STARTED && !is_alive(owner) -> release_row(NO_CLAIM, 0, 1) }
#endif
#ifdef RESCUE_BY_ABSENCE
    :: atomic { row == STARTED && !hint_waits && !hint_token -> release_row(NO_CLAIM, 0, 1) }
#endif
    od
}

/* Whoever pushes reads the ledger first and pushes later, if it lives so long: the submitter, the
 * settler, an operator, the keeper after a death, when something becomes due, when a hint is absent
 * (runtime/keeper/walk.c:on_page, on_present, push_page). */
proctype Pusher()
{
    byte read;
end:
    do
    :: atomic { row == WAITING && !hint_present -> read = starts + 1 };
        atomic { broker_push(read - 1); read = 0 }
    od
}

/* script_claim: a claim whose lease ran out goes back. */
proctype Lease()
{
end:
    do
    :: atomic { hint_token -> hint_token = 0; hint_waits = 1 }
    od
}

inline crash(w)
{
    crashes++;
    if
    :: !noted -> /* its supervisor lives, and knows whose Lua was on the CPU (child.c:culprit_of) */
        noted = incarnation[w];
        if
        :: phase[w] == RUNNING -> noted_claim = mine[w]; noted_timeout = 0
        :: phase[w] == RUNNING -> noted_claim = mine[w]; noted_timeout = 1
        :: 1
        fi
    :: 1 /* the supervisor died, too */
    fi;
    connection_breaks(w);
    runner_ends(w)
}

inline suspend(w)
{
    suspends++; suspended[w] = 1; silent = silent | BIT(incarnation[w])
}

inline wipe()
{
    wipes++; redis_counter = 0;
    if
    :: hint_waits = 0; hint_token = 0; hint_starts = 0 /* all of Redis */
    :: hint_waits = 0; hint_token = 0                  /* one hint, or a claim's answer */
    :: starts > 0 -> hint_waits = 1; hint_token = 0; hint_starts = starts - 1 /* older data */
    fi
}

/* All that may break, and all that people may wish for. */
proctype World()
{
end:
    do
    :: atomic { crashes < CRASHES -> crash(0) }
    :: atomic { crashes < CRASHES -> crash(1) }
    :: atomic { suspends < SUSPENDS && is_alive(incarnation[0]) -> suspend(0) }
    :: atomic { suspends < SUSPENDS && is_alive(incarnation[1]) -> suspend(1) }
    :: atomic { suspended[0] -> suspended[0] = 0 }
    :: atomic { suspended[1] -> suspended[1] = 0 }
    /* The connection breaks: the statement is sent again, the first one may still be on its way. */
    :: atomic { lost < LOST && phase[0] == STARTING -> lost++; connection_breaks(0); start_send(0) }
    :: atomic { lost < LOST && phase[1] == STARTING -> lost++; connection_breaks(1); start_send(1) }
    :: atomic { lost < LOST && phase[0] == FINISHING -> lost++; connection_breaks(0) }
    :: atomic { lost < LOST && phase[1] == FINISHING -> lost++; connection_breaks(1) }
    /* A statement whose connection broke runs when the server comes to it, or never. */
    :: atomic {
        late == STARTING ->
        ledger_start(late_by, late_hint, late_claim, late_incarnation, late_alive);
        late_forget(); verdict = 0
    }
    :: atomic {
        late == FINISHING ->
        ledger_finish(late_by, late_claim, late_began, late_end);
        late_forget(); verdict = 0
    }
    :: atomic { wipes < WIPES -> wipe() }
    /* runtime/ledger/schema_operate.c:cancel_tasks; script_forget comes later, or is lost */
    :: atomic { cancels < CANCELS && row == WAITING ->
        cancels++; end_round(REVOKED); check_row(); forgets = 1 }
    :: atomic { forgets -> hint_waits = 0; hint_token = 0; hint_starts = 0; forgets = 0 }
    :: atomic { cancels < CANCELS && row == STARTED && !cancel_at -> cancels++; cancel_at = 1 }
    /* schema_operate.c:retry_tasks: a new round, fresh budgets; starts go on */
    :: atomic { round < ROUNDS && row == ENDED && status != SUCCESS ->
        round++; row = WAITING; check_row() }
    /* runtime/ledger/operate.c:ledger_pause */
    :: atomic { pauses < PAUSES -> pauses++; paused = 1 }
    :: atomic { paused -> paused = 0 }
    :: !paused && (is_up(0) || is_up(1)) -> break /* no more of it; somebody is left to work */
    od
}

#define at_rest (row == ENDED || (row == ABSENT && !accepted))

/* Nothing can happen any more: then the task must have ended. */
proctype Rest()
{
    timeout -> assert(at_rest) /* it is stuck */
}

/* All of it, and the submitter (runtime/lifecycle/submit.c): commit, answer, push (see Pusher). The
 * ids are the client's: a repeat after a lost answer meets its own row and inserts nothing. */
init
{
    atomic {
        incarnation[0] = 1; incarnation[1] = 2;
        run Runner(0); run Runner(1); run Supervisors(); run Keeper(); run Lease(); run Pusher();
#if PUSHERS > 1
        run Pusher();
#endif
        run World(); run Rest()
    };
#ifdef ANSWER_BEFORE_COMMIT
    accepted = 1;
#endif
#ifdef HINT_BEFORE_INSERT
    atomic { broker_push(0) };
#endif
    if
    :: goto died
    :: atomic { row == ABSENT -> row = WAITING; round = 1 }
    fi;
    if
    :: goto died
    :: accepted = 1
    fi;
died:
    assert(!accepted || row != ABSENT) /* I1 */
}

/* Progress: if everybody goes on (weak fairness), the task ends and stays so. */
ltl progress { <> [] at_rest }
