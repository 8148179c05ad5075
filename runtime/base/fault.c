/* fault.c: reads the orders once, keeps count of passes, and acts. Several processes share the file
 * and its offset: what is told goes in under a lock, at the end. */
#include "base/fault.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define ORDERS_MAX 1024
#define POINTS_MAX 128
#define LINE_SIZE  120

struct order {
    const struct fault_point *point;
    enum fault_action action;
    unsigned roles;
    char subject[64]; /* "": any */
    long after, times, passes;
    bool is_spent;
};

static struct {
    int fd;
    enum fault_role role;
    struct order orders[ORDERS_MAX];
    size_t count;
    bool is_told[POINTS_MAX];
    pthread_mutex_t mutex;    /* for what passes count and tell */
    _Atomic long allocations; /* left until one fails; 0: none will */
} faults = { .fd = -1, .role = FAULT_CLI, .mutex = PTHREAD_MUTEX_INITIALIZER };

bool fault_is_armed;

static const struct {
    const char *name;
    unsigned value;
} roles[] = { { "cli", FAULT_CLI },
              { "supervisor", FAULT_SUPERVISOR },
              { "runner", FAULT_RUNNER },
              { "checker", FAULT_CHECKER },
              { "isolated", FAULT_ISOLATED } },
  actions[] = { { "kill", FAULT_KILL },   { "stop", FAULT_STOP }, { "segv", FAULT_SEGV },
                { "error", FAULT_ERROR }, { "lose", FAULT_LOSE }, { "alloc", FAULT_ALLOC } };

static char *read_file(int fd);
static void read_order(char *line);
static const struct fault_point *find_point(const char *name);
static void refuse(const char *line);
static void tell_reached(const struct fault_point *point);
static const struct order *order_due(const struct fault_point *point, const char *subject);
static bool take_turn(struct order *order);
static bool act(const struct order *order);
static void lock(short type);
static void append(const char *line);

void fault_init(void)
{
    const char *text = getenv(FAULTS_VARIABLE);
    if (!text) return;
    faults.fd = atoi(text);
    unsetenv(FAULTS_VARIABLE);
    if (faults.fd < 3 || fcntl(faults.fd, F_SETFD, FD_CLOEXEC) != 0) refuse(text);
    char *orders = read_file(faults.fd), *rest = NULL;
    for (char *line = strtok_r(orders, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        bool is_told = strncmp(line, "reached ", 8) == 0 || strncmp(line, "fired ", 6) == 0;
        if (!is_told) read_order(line);
    }
    free(orders);
    fault_is_armed = true;
}

void fault_set_role(enum fault_role role) { faults.role = role; }

int fault_descriptor(void) { return faults.fd; }

const char *fault_role_name(enum fault_role role)
{
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        if (roles[i].value == role) return roles[i].name;
    return NULL;
}

const char *fault_action_name(enum fault_action action)
{
    for (size_t i = 0; i < COUNT_OF(actions); i++)
        if (actions[i].value == action) return actions[i].name;
    return NULL;
}

/* gives text */
static char *read_file(int fd)
{
    struct stat file;
    size_t len = 0, size = fstat(fd, &file) == 0 ? (size_t)file.st_size : 0;
    char *text = calloc(size + 1, 1);
    if (!text) abort();
    for (ssize_t got = 1; got > 0 && len<size; len += got> 0 ? (size_t)got : 0)
        got = pread(fd, text + len, size - len, (off_t)len);
    return text;
}

static void read_order(char *line)
{
    char whole[LINE_SIZE], *rest = NULL;
    struct order *order = &faults.orders[faults.count];
    snprintf(whole, sizeof whole, "%s", line);
    const char *name = strtok_r(line, " ", &rest), *action = strtok_r(NULL, " ", &rest);
    if (faults.count == ORDERS_MAX || !action) refuse(whole);
    *order = (struct order){ .point = find_point(name), .after = 1, .times = 1 };
    for (size_t i = 0; i < COUNT_OF(actions); i++)
        if (strcmp(action, actions[i].name) == 0)
            order->action = (enum fault_action)actions[i].value;
    if (!order->point || !(order->point->actions & order->action)) refuse(whole);
    order->roles = order->point->roles;
    for (const char *word; (word = strtok_r(NULL, " ", &rest));) {
        const char *value = strtok_r(NULL, " ", &rest);
        if (!value) refuse(whole);
        if (strcmp(word, "after") == 0) order->after = atol(value);
        if (strcmp(word, "times") == 0) order->times = atol(value);
        if (strcmp(word, "for") == 0) snprintf(order->subject, sizeof order->subject, "%s", value);
        for (size_t i = 0; strcmp(word, "in") == 0 && i < COUNT_OF(roles); i++)
            if (strcmp(value, roles[i].name) == 0) order->roles = roles[i].value;
    }
    faults.count++;
}

static const struct fault_point *find_point(const char *name)
{
    const struct fault_point *point = fault_points;
    while (point->name && strcmp(point->name, name) != 0) point++;
    return point->name ? point : NULL;
}

static void refuse(const char *line)
{
    fprintf(stderr, "ctutor-run: no order to fail: %s (see ctutor-run help faults)\n", line);
    exit(2);
}

bool fault_pass(const char *name, const char *moment, const char *subject)
{
    char text[64];
    snprintf(text, sizeof text, "%s%s%s", name, moment ? "_" : "", moment ? moment : "");
    for (char *blank = text; (blank = strchr(blank, ' '));) *blank = '_';
    const struct fault_point *point = find_point(text);
    if (!point && !moment) abort();
    if (!point || !(point->roles & faults.role)) return false;
    pthread_mutex_lock(&faults.mutex);
    tell_reached(point);
    const struct order *order = order_due(point, subject);
    pthread_mutex_unlock(&faults.mutex);
    return order && act(order);
}

static const struct order *order_due(const struct fault_point *point, const char *subject)
{
    for (size_t i = 0; i < faults.count; i++) {
        struct order *order = &faults.orders[i];
        bool is_meant = order->point == point && (order->roles & faults.role) &&
                        (!order->subject[0] || (subject && strcmp(order->subject, subject) == 0));
        if (!is_meant || order->is_spent) continue;
        if (++order->passes < order->after && order->action != FAULT_ALLOC) continue;
        if (take_turn(order)) return order; /* the next one has the next pass */
    }
    return NULL;
}

static void tell_reached(const struct fault_point *point)
{
    char line[LINE_SIZE];
    size_t index = (size_t)(point - fault_points);
    if (index >= POINTS_MAX || faults.is_told[index]) return;
    faults.is_told[index] = true;
    snprintf(line, sizeof line, "reached %s %s\n", point->name, fault_role_name(faults.role));
    lock(F_WRLCK);
    append(line);
    lock(F_UNLCK);
}

/* Counts, in the file, how often this order was carried out, by whomever. */
static bool take_turn(struct order *order)
{
    char begin[32], line[LINE_SIZE + 32];
    snprintf(begin, sizeof begin, "fired %zu ", (size_t)(order - faults.orders));
    snprintf(line, sizeof line, "%s%s %s %s %d\n", begin, order->point->name,
             fault_action_name(order->action), fault_role_name(faults.role), (int)getpid());
    lock(F_WRLCK);
    char *text = read_file(faults.fd);
    long done = 0;
    for (const char *at = text; (at = strstr(at, begin)); at++) done++;
    order->is_spent = done + 1 >= order->times;
    if (done < order->times) append(line);
    lock(F_UNLCK);
    free(text);
    return done < order->times;
}

static bool act(const struct order *order)
{
    switch (order->action) {
    case FAULT_KILL: kill(getpid(), SIGKILL); break;
    case FAULT_STOP: kill(getpid(), SIGSTOP); break;
    case FAULT_SEGV:
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
        break;
    case FAULT_ALLOC: atomic_store(&faults.allocations, order->after); break;
    case FAULT_ERROR:
    case FAULT_LOSE: return true;
    }
    return false;
}

bool fault_allocation_fails(void)
{
    long left = atomic_load(&faults.allocations);
    while (left > 0 && !atomic_compare_exchange_weak(&faults.allocations, &left, left - 1)) {
    }
    return left == 1;
}

static void lock(short type)
{
    struct flock whole = { .l_type = type, .l_whence = SEEK_SET };
    while (fcntl(faults.fd, F_SETLKW, &whole) != 0) {
    }
}

static void append(const char *line)
{
    struct stat file;
    size_t len = strlen(line);
    if (fstat(faults.fd, &file) != 0 || pwrite(faults.fd, line, len, file.st_size) != (ssize_t)len)
        abort();
}
