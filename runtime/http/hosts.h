/* hosts.h: the names that this server goes by. A page of somebody else's must not reach us under a
 * name of his (DNS rebinding), nor a form of his post to us. Pure. */
#pragma once
#include <stdbool.h>

struct hosts {
    const char *address; /* that it listens on, without brackets */
    const char *names;   /* CTUTOR_HOSTS: [https://]NAME[:PORT], separated by commas */
};
enum host { HOST_UNKNOWN, HOST_KNOWN, HOST_HTTPS /* known, and reached by https alone */ };

/* Of a Host header. A name without a port fits any. */
enum host hosts_find(const struct hosts *hosts, const char *host);
/* An Origin header: of the same host, or one of the names exactly (a proxy may change Host). */
bool hosts_own(const struct hosts *hosts, const char *origin, const char *host);
/* "127.0.0.1", "::1", "localhost": nobody else can come to where this listens. */
bool address_is_loopback(const char *address);
