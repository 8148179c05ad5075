/* proc_tree.c: finds and kills whole families of processes through /proc (see proc.h).
 *
 * A hunt looks at all processes again and again. Each look marks the quarry: seeds (the root, the
 * children of the caller, those with the marker in their environment, what was found before) and
 * then whoever has a marked parent, group leader or session leader. Fresh quarry is stopped at
 * once, not killed: a stopped process cannot fork, and while parents live their children stay below
 * them. When a look finds nothing fresh, all of it is killed, and the hunt ends when a look after
 * that stays empty.
 *
 * Following group and session by number is safe: the kernel does not give a leader's pid to another
 * process while its group or session exists. A signal goes out only after pid and start time were
 * compared once more. The caller and pid 1 are left out of every look, so they can never be marked.
 *
 * The environment in /proc is the one of the last exec; a process can overwrite its own. The marker
 * is for finding what strayed, not a wall against malice: that is what a pid namespace is for. */
#include "io/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#define LOOKS_MAX     50
#define PAUSES_MAX    200 /* per hunt: one that waits for its vfork child never comes to rest */
#define PAUSE_NS      500000
#define KERNEL_THREAD 0x00200000U /* PF_KTHREAD in the flags of stat */

enum mark { MARK_NONE, MARK_SPARED, MARK_QUARRY };

/* One process as a look saw it. */
struct process {
    pid_t pid, parent, group, session;
    uint64_t start_ticks;
    bool alive;   /* false: a zombie; it can still be the leader of living ones */
    bool at_rest; /* stopped, or a zombie */
    enum mark mark;
};

/* One that was found; the hunt keeps it until its end. */
struct quarry {
    struct list node;
    pid_t pid;
    uint64_t start_ticks;
};

struct hunt {
    pid_t self;
    pid_t root;         /* 0: none */
    pid_t parent;       /* 0: none; all below it, but not itself */
    const char *marker; /* NULL: none */
    const pid_t *spared;
    size_t spared_count;
    struct process *processes; /* the newest look, by rising pid */
    size_t count, capacity;
    struct buf environment; /* scratch */
    struct list found;
    struct map *by_pid; /* pid -> struct quarry */
    int pauses;         /* taken */
};

static size_t hunt_run(struct hunt *hunt);
static bool read_process(pid_t pid, struct process *process);

size_t proc_kill_tree(pid_t root, const char *marker)
{
    pid_t self = getpid();
    struct hunt hunt = {
        .self = self,
        .root = root > 1 && root != self ? root : 0,
        .marker = marker != NULL && *marker != '\0' ? marker : NULL,
    };
    return hunt_run(&hunt);
}

size_t proc_kill_descendants_but(const pid_t *spared, size_t count)
{
    pid_t self = getpid();
    struct hunt hunt = { .self = self, .parent = self, .spared = spared, .spared_count = count };
    return hunt_run(&hunt);
}

uint64_t proc_start_ticks(pid_t pid)
{
    struct process process;
    return read_process(pid, &process) ? process.start_ticks : 0;
}

int64_t proc_resident_bytes(pid_t pid)
{
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
    if (file) fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* ---- the hunt ---- */

static bool look(struct hunt *hunt);
static void mark_all(struct hunt *hunt);
static size_t stop_fresh(struct hunt *hunt);
static void wait_for_rest(struct hunt *hunt);
static void kill_found(struct hunt *hunt);
static size_t hunt_close(struct hunt *hunt);

static size_t hunt_run(struct hunt *hunt)
{
    hunt->by_pid = map_new();
    list_init(&hunt->found);
    bool killed = true; /* nothing is found and not killed */
    for (int looks = 0; looks < LOOKS_MAX && look(hunt); looks++) {
        mark_all(hunt);
        if (stop_fresh(hunt) > 0) {
            wait_for_rest(hunt);
            killed = false;
        } else if (killed) {
            break;
        } else {
            kill_found(hunt);
            killed = true;
        }
    }
    if (!killed) kill_found(hunt);
    return hunt_close(hunt);
}

static size_t hunt_close(struct hunt *hunt)
{
    size_t count = map_count(hunt->by_pid);
    map_free(hunt->by_pid);
    for (struct list *node; (node = list_pop_front(&hunt->found)) != NULL;) {
        free(container_of(node, struct quarry, node));
    }
    buf_close(&hunt->environment);
    free(hunt->processes);
    return count;
}

static void signal_quarry(const struct quarry *quarry, int signal)
{
    if (proc_start_ticks(quarry->pid) == quarry->start_ticks) kill(quarry->pid, signal);
}

static const struct quarry *find_quarry(const struct hunt *hunt, pid_t pid)
{
    return map_find(hunt->by_pid, &pid, sizeof pid);
}

static bool is_known(const struct hunt *hunt, const struct process *process)
{
    const struct quarry *quarry = find_quarry(hunt, process->pid);
    return quarry != NULL && quarry->start_ticks == process->start_ticks;
}

static size_t stop_fresh(struct hunt *hunt)
{
    size_t fresh = 0;
    for (size_t i = 0; i < hunt->count; i++) {
        const struct process *process = &hunt->processes[i];
        if (process->mark != MARK_QUARRY || !process->alive || is_known(hunt, process)) continue;
        struct quarry *quarry = xcalloc(1, sizeof *quarry);
        quarry->pid = process->pid;
        quarry->start_ticks = process->start_ticks;
        list_push_back(&hunt->found, &quarry->node);
        map_put(hunt->by_pid, &quarry->pid, sizeof quarry->pid, quarry);
        signal_quarry(quarry, SIGSTOP);
        fresh++;
    }
    return fresh;
}

static bool is_at_rest(const struct quarry *quarry)
{
    struct process now;
    return !read_process(quarry->pid, &now) || now.start_ticks != quarry->start_ticks ||
           now.at_rest;
}

static void wait_for_rest(struct hunt *hunt)
{
    LIST_EACH (node, &hunt->found) {
        const struct quarry *quarry = container_of(node, struct quarry, node);
        while (!is_at_rest(quarry) && hunt->pauses++ < PAUSES_MAX) {
            nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
        }
    }
}

/* Youngest first: the end of a parent can make its child's group an orphaned one, and the kernel
 * continues a stopped group when that happens. */
static void kill_found(struct hunt *hunt)
{
    for (struct list *node = hunt->found.prev; node != &hunt->found; node = node->prev) {
        signal_quarry(container_of(node, struct quarry, node), SIGKILL);
    }
}

/* ---- a look at all processes ---- */

static int compare_pid(const void *a, const void *b)
{
    pid_t left = ((const struct process *)a)->pid, right = ((const struct process *)b)->pid;
    return (left > right) - (left < right);
}

static void add_pid(struct hunt *hunt, pid_t pid)
{
    if (pid <= 1 || pid == hunt->self) return;
    if (hunt->count == hunt->capacity) {
        hunt->capacity = hunt->capacity > 0 ? hunt->capacity * 2 : 256;
        hunt->processes = xrealloc(hunt->processes, hunt->capacity * sizeof *hunt->processes);
    }
    hunt->processes[hunt->count++] = (struct process){ .pid = pid };
}

static bool list_pids(struct hunt *hunt)
{
    DIR *dir = opendir("/proc");
    if (dir == NULL) return false;
    hunt->count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (isdigit((unsigned char)*entry->d_name)) {
            add_pid(hunt, (pid_t)strtol(entry->d_name, NULL, 10));
        }
    }
    closedir(dir);
    return true;
}

/* Needs one descriptor at a time. */
static bool look(struct hunt *hunt)
{
    if (!list_pids(hunt)) { /* no descriptor left, or no /proc: the group is better than nothing */
        log_error("cannot read /proc to find processes to kill: %s", strerror(errno));
        if (hunt->root > 0) kill(-hunt->root, SIGKILL);
        return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < hunt->count; i++) {
        struct process process;
        if (read_process(hunt->processes[i].pid, &process)) hunt->processes[kept++] = process;
    }
    hunt->count = kept;
    if (kept > 0) qsort(hunt->processes, kept, sizeof *hunt->processes, compare_pid);
    return true;
}

/* Opens /proc/PID/name; -1 when the process has vanished or is not ours to read. */
static int open_entry(pid_t pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* False for kernel threads too. The name in stat may hold anything, so fields count from the last
 * parenthesis. A process whose first thread has ended looks like a zombie but has more threads. */
static bool read_process(pid_t pid, struct process *process)
{
    char text[1024];
    int fd = open_entry(pid, "stat");
    if (fd < 0) return false;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0) return false;
    text[len] = '\0';
    const char *fields = strrchr(text, ')');
    char state = 0;
    unsigned flags = 0;
    long threads = 0;
    unsigned long long ticks = 0;
    *process = (struct process){ .pid = pid };
    if (fields == NULL || sscanf(fields,
                                 ") %c %d %d %d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                                 "%*d %ld %*d %llu",
                                 &state, &process->parent, &process->group, &process->session,
                                 &flags, &threads, &ticks) != 7) {
        return false;
    }
    process->start_ticks = ticks;
    process->alive = strchr("ZXx", state) == NULL || threads > 1;
    process->at_rest = strchr("ZXxTt", state) != NULL;
    return (flags & KERNEL_THREAD) == 0;
}

/* ---- marking ---- */

typedef bool test_fn(struct hunt *hunt, const struct process *process);
static test_fn is_spared, is_seed, holds_marker;
static void mark_where(struct hunt *hunt, enum mark mark, test_fn *test);
static void spread(struct hunt *hunt, enum mark mark);

/* Environments are read last, and only of those that nothing else tells about: it is slow. */
static void mark_all(struct hunt *hunt)
{
    mark_where(hunt, MARK_SPARED, is_spared);
    mark_where(hunt, MARK_QUARRY, is_seed);
    if (hunt->marker != NULL) mark_where(hunt, MARK_QUARRY, holds_marker);
}

static void mark_where(struct hunt *hunt, enum mark mark, test_fn *test)
{
    for (size_t i = 0; i < hunt->count; i++) {
        struct process *process = &hunt->processes[i];
        if (process->mark == MARK_NONE && test(hunt, process)) process->mark = mark;
    }
    spread(hunt, mark);
}

/* Does the process with this number pass its mark on? Leaders may be dead and gone. */
static bool leads(const struct hunt *hunt, pid_t pid, enum mark mark)
{
    if (pid <= 1 || hunt->count == 0) return false; /* 0: a leader outside of this pid namespace */
    struct process key = { .pid = pid };
    const struct process *process =
        bsearch(&key, hunt->processes, hunt->count, sizeof key, compare_pid);
    if (process != NULL) return process->mark == mark;
    return mark == MARK_QUARRY && (pid == hunt->root || find_quarry(hunt, pid) != NULL);
}

/* Parents mostly have lower pids than their children, so one or two rounds do. */
static void spread(struct hunt *hunt, enum mark mark)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < hunt->count; i++) {
            struct process *process = &hunt->processes[i];
            if (process->mark != MARK_NONE) continue;
            if (leads(hunt, process->parent, mark) || leads(hunt, process->group, mark) ||
                leads(hunt, process->session, mark)) {
                process->mark = mark;
                changed = true;
            }
        }
    }
}

static bool is_spared(struct hunt *hunt, const struct process *process)
{
    for (size_t i = 0; i < hunt->spared_count; i++) {
        if (hunt->spared[i] == process->pid) return true;
    }
    return false;
}

static bool is_seed(struct hunt *hunt, const struct process *process)
{
    return (hunt->root > 0 && process->pid == hunt->root) ||
           (hunt->parent > 0 && process->parent == hunt->parent) || is_known(hunt, process);
}

/* The environment of others than our own user's processes cannot be read, and need not be. */
static bool holds_marker(struct hunt *hunt, const struct process *process)
{
    int fd = process->alive ? open_entry(process->pid, "environ") : -1;
    if (fd < 0) return false;
    struct buf *text = &hunt->environment;
    buf_clear(text);
    ssize_t len;
    while ((len = read(fd, buf_reserve(text, 8192), 8192)) > 0) text->len += (size_t)len;
    close(fd);
    size_t marker_len = strlen(hunt->marker);
    for (size_t at = 0; at < text->len;) {
        size_t entry_len = strnlen(text->data + at, text->len - at);
        if (entry_len == marker_len && memcmp(text->data + at, hunt->marker, marker_len) == 0) {
            return true;
        }
        at += entry_len + 1;
    }
    return false;
}
