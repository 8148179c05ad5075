/* signals.h: the signals that a server hears: SIGTERM, SIGINT, SIGHUP. */
#pragma once
#include <uv.h>

#include "loop/loop.h"

struct signals {
    uv_signal_t handles[3];
    void (*on)(void *arg, int number);
    void *arg;
};

void signals_watch(struct signals *signals, struct loop *loop, void (*on)(void *arg, int number),
                   void *arg);
/* From here on none of them ends this process either: what it was told to do, it does. */
void signals_close(struct signals *signals);
