/* channel.h: the socket pair between a supervisor and one runner: framed messages [u32 length][u8
 * kind][payload], each side on its own loop. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "loop/loop.h"

enum message {
    /* supervisor -> runner */
    MESSAGE_SETUP, /* JSON: {config, incarnation, supervisor, name, run_directory, slots, burst};
                      isolated: and the hint {id, token, starts} */
    MESSAGE_GENERATION, /* u32 number, then an encoded snapshot: load it and swap it in */
    MESSAGE_CANCEL,     /* 16 bytes id, 16 bytes claim */
    MESSAGE_DRAIN, /* i64 grace in microseconds: take no more, let runs end, give the rest back,
                      exit 0 */
    MESSAGE_HOOKS, /* marks are owed: take some */
    MESSAGE_RECONCILED, /* burst: everything due has a hint now: empty means done; say (again)
                           when there is nothing */
    /* runner -> supervisor */
    MESSAGE_READY,  /* registered and serving */
    MESSAGE_LOADED, /* u32 number of the generation that serves now */
    MESSAGE_FAILED, /* text: a generation could not be built */
    MESSAGE_EPOCH,  /* text: Redis' epoch, when it changed */
    MESSAGE_IDLE,   /* burst: nothing is due any more */
    MESSAGE_BUSY,   /* burst: something is, after all */
    MESSAGE_STATS   /* JSON for the heartbeat */
};

struct channel {
    void *arg;
    void (*received)(void *arg, enum message kind, const char *payload, size_t len);
    void (*closed)(void *arg); /* the peer is gone; called once */
    /* private */
    struct loop *loop;
    uv_pipe_t pipe;
    struct buf input;
    bool closing;
    void (*on_freed)(struct channel *channel);
};

/* fd is owned from here on. */
void channel_open(struct channel *channel, struct loop *loop, int fd, void *arg,
                  void (*received)(void *, enum message, const char *, size_t),
                  void (*closed)(void *));
void channel_send(struct channel *channel, enum message kind, const void *payload, size_t len);
void channel_close(struct channel *channel, void (*on_freed)(struct channel *channel));
