#include "io/redis_command.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void sha1_block(uint32_t state[5], const uint8_t block[64]);

void redis_command_begin(struct buf *out, size_t argc) { buf_addf(out, "*%zu\r\n", argc); }

void redis_command_arg(struct buf *out, const void *data, size_t len)
{
    char head[32];
    int head_len = snprintf(head, sizeof head, "$%zu\r\n", len);
    buf_reserve(out, (size_t)head_len + len + 2);
    buf_add(out, head, (size_t)head_len);
    buf_add(out, data, len);
    buf_add(out, "\r\n", 2);
}

void redis_command_text(struct buf *out, const char *text)
{
    redis_command_arg(out, text, strlen(text));
}

void redis_command_args(struct buf *out, const struct redis_command *command)
{
    for (size_t i = 0; i < command->argc; i++)
        redis_command_arg(out, command->argv[i],
                          command->argv_len ? command->argv_len[i] : strlen(command->argv[i]));
}

size_t redis_command_evalsha(struct buf *out, const struct redis_script *script, size_t key_count,
                             const struct redis_command *keys_and_args)
{
    char count[24];
    snprintf(count, sizeof count, "%zu", key_count);
    redis_command_begin(out, keys_and_args->argc + 3);
    redis_command_text(out, "EVALSHA");
    redis_command_text(out, script->sha);
    size_t shared_at = out->len;
    redis_command_text(out, count);
    redis_command_args(out, keys_and_args);
    return shared_at;
}

void redis_command_eval_instead(struct buf *call, size_t shared_at,
                                const struct redis_script *script, size_t argc)
{
    struct buf out = BUF_EMPTY;
    redis_command_begin(&out, argc + 3);
    redis_command_text(&out, "EVAL");
    redis_command_text(&out, script->text);
    buf_add(&out, call->data + shared_at, call->len - shared_at);
    buf_close(call);
    *call = out;
}

void redis_sha1_hex(const char *text, size_t len, char out[41])
{
    uint32_t state[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
    struct buf padded = BUF_EMPTY;
    buf_add(&padded, text, len);
    buf_add_char(&padded, (char)0x80);
    while (padded.len % 64 != 56) buf_add_char(&padded, 0);
    buf_add_u64be(&padded, (uint64_t)len * 8);
    for (size_t at = 0; at < padded.len; at += 64)
        sha1_block(state, (const uint8_t *)padded.data + at);
    for (int i = 0; i < 5; i++) snprintf(out + (size_t)i * 8, 9, "%08x", state[i]);
    buf_close(&padded);
}

static uint32_t rotate(uint32_t x, int by) { return x << by | x >> (32 - by); }

static uint32_t sha1_mix(int round, const uint32_t s[5])
{
    if (round < 20) return ((s[1] & s[2]) | (~s[1] & s[3])) + 0x5a827999;
    if (round < 40) return (s[1] ^ s[2] ^ s[3]) + 0x6ed9eba1;
    if (round < 60) return ((s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3])) + 0x8f1bbcdc;
    return (s[1] ^ s[2] ^ s[3]) + 0xca62c1d6;
}

static void sha1_block(uint32_t state[5], const uint8_t block[64])
{
    uint32_t w[80], s[5];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 80; i++) {
        uint32_t next = rotate(s[0], 5) + sha1_mix(i, s) + s[4] + w[i];
        s[4] = s[3], s[3] = s[2], s[2] = rotate(s[1], 30), s[1] = s[0], s[0] = next;
    }
    for (int i = 0; i < 5; i++) state[i] += s[i];
}
