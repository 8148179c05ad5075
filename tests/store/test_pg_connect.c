/* pg on its way to a server: names, several hosts, refusals. */
#include "io/pg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/pg_fixture.h"

static const struct pg_statement one = { "one", "select 1" };

static void reopen(struct pg_fixture *f, const char *conninfo)
{
    pg_free(f->pg);
    f->pg = pg_fixture_open(f, conninfo);
}

static void require_passwords_of_locked(struct pg_fixture *f)
{
    char path[128];
    pg_must(f, "create role locked login password 'right'");
    snprintf(path, sizeof path, "%s/data/pg_hba.conf", test_postgres_socket_dir(pg_test_server));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("local all locked scram-sha-256\nlocal all all trust\n", file);
    fclose(file);
    pg_must(f, "select pg_reload_conf()::text");
}

static void a_wrong_password_or_database_is_named_without_the_secret(void **state)
{
    struct pg_fixture *f = *state;
    char conninfo[200];
    const char *dir = test_postgres_socket_dir(pg_test_server);
    require_passwords_of_locked(f);
    snprintf(conninfo, sizeof conninfo, "host=%s user=locked dbname=codeability password=s3cret",
             dir);
    do { /* the server may take a while to see its new configuration */
        reopen(f, conninfo);
        int before = f->lost + f->connected, now = before;
        while (now == before) {
            loop_turn(&f->loop, true);
            now = f->lost + f->connected;
        }
    } while (pg_is_up(f->pg));
    assert_int_equal(f->why.code, ERR_STORE);
    assert_non_null(strstr(f->why.text, "password authentication failed"));
    assert_null(strstr(f->why.text, "s3cret"));
    int lost = f->lost;
    snprintf(conninfo, sizeof conninfo, "host=%s user=postgres dbname=absent", dir);
    reopen(f, conninfo);
    pg_run_until(f, &f->lost, lost + 1);
    assert_non_null(strstr(f->why.text, "\"absent\" does not exist"));
    reopen(f, "postgres://u:s3cret%zz@h/db");
    pg_run_until(f, &f->lost, lost + 2);
    assert_int_equal(f->why.code, ERR_INPUT);
    assert_null(strstr(f->why.text, "s3cret"));
}

static void a_dead_first_host_is_passed_over(void **state)
{
    struct pg_fixture *f = *state;
    char conninfo[200];
    struct pg_call call = { 0 };
    snprintf(conninfo, sizeof conninfo,
             "host=/nowhere,127.0.0.1,%s port=5432,1,5432 user=postgres dbname=codeability",
             test_postgres_socket_dir(pg_test_server));
    reopen(f, conninfo);
    pg_run(f, &one, &call);
    assert_string_equal(call.error, "");
    assert_int_equal(f->lost, 0);
}

/* A relay from a TCP port of 127.0.0.1 to the server's socket, one connection at a time. */
static void relay(int listener, const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    for (;;) {
        int a = accept(listener, NULL, NULL), b = socket(AF_UNIX, SOCK_STREAM, 0);
        if (a < 0 || b < 0 || connect(b, (struct sockaddr *)&to, sizeof to)) _exit(1);
        struct pollfd ends[2] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };
        for (bool open = true; open;) {
            poll(ends, 2, -1);
            for (int i = 0; i < 2; i++) {
                char bytes[4096];
                if (!ends[i].revents) continue;
                ssize_t len = read(ends[i].fd, bytes, sizeof bytes);
                open = open && len > 0 && write(ends[1 - i].fd, bytes, (size_t)len) == len;
            }
        }
        close(a);
        close(b);
    }
}

static pid_t start_relay(int *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof at;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    snprintf(path, sizeof path, "%s/.s.PGSQL.5432", test_postgres_socket_dir(pg_test_server));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        relay(listener, path);
    }
    close(listener);
    return pid;
}

static void a_host_name_is_looked_up(void **state)
{
    struct pg_fixture *f = *state;
    char conninfo[200];
    struct pg_call call = { 0 };
    int port, lost;
    pid_t pid = start_relay(&port);
    assert_true(pid > 0);
    snprintf(conninfo, sizeof conninfo,
             "postgres://postgres@no-such-host.invalid:1,localhost:%d/codeability?sslmode=disable",
             port);
    reopen(f, conninfo);
    pg_run(f, &one, &call);
    assert_string_equal(call.error, "");
    lost = f->lost;
    reopen(f, "host=no-such-host.invalid user=postgres");
    pg_run_until(f, &f->lost, lost + 1);
    assert_non_null(strstr(f->why.text, "Postgres host no-such-host.invalid")); /* not by libpq */
    reopen(f, conninfo); /* freed while the look-up is under way */
    loop_turn(&f->loop, false);
    pg_free(f->pg);
    f->pg = NULL;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void a_host_that_swallows_the_handshake_is_left_for_the_next(void **state)
{
    struct pg_fixture *f = *state;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof at;
    char conninfo[200];
    int mute = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(mute, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(mute, 8), 0);
    assert_int_equal(getsockname(mute, (struct sockaddr *)&at, &len), 0);
    snprintf(conninfo, sizeof conninfo, "host=127.0.0.1,%s port=%d,5432 user=postgres",
             test_postgres_socket_dir(pg_test_server), ntohs(at.sin_port));
    reopen(f, conninfo);
    pg_run_until(f, &f->connected, 1);
    assert_int_equal(f->lost, 1);
    close(mute);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pg_fixture_set_up, pg_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_wrong_password_or_database_is_named_without_the_secret),
        TEST(a_dead_first_host_is_passed_over),
        TEST(a_host_name_is_looked_up),
        TEST(a_host_that_swallows_the_handshake_is_left_for_the_next),
    };
    return cmocka_run_group_tests(tests, pg_server_start, pg_server_stop);
}
