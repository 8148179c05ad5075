/* The scripts are atomic but not rolled back, so each looks at the type of every key first and
 * writes last: a key of a wrong type, planted by somebody else, ends it with an error before it
 * changed anything. Ids, scores and tokens pass through as the bytes they are; scores are never
 * turned into numbers here.
 *
 * A claim is noted as token .. score .. ':' .. queue; the token of a hint that was put back for
 * later is 16 zero bytes, which nobody holds. A time that lies further ahead than anybody could
 * have noted it is of a clock that was set back since, and counts as over. Lists of arguments to
 * one command stay below Lua's limit of about 8000, because callers pass at most 1000 items. */
#include "broker/scripts.h"

#define PRELUDE                                                                                    \
    "local call = redis.call\n"                                                                    \
    "local ns = KEYS[1]\n"                                                                         \
    "local starts_key, claimed_key, lease_key = ns..':starts', ns..':claimed', ns..':lease'\n"     \
    "local queues_key = ns..':queues'\n"                                                           \
    "local function queue_key(queue) return ns..':q:'..queue end\n"                                \
    "local isolated = '/isolated'\n"                                                               \
    "local function base_of(queue) return (string.gsub(queue, isolated..'$', '')) end\n"           \
    "local function twin_of(queue)\n"                                                              \
    "  local base = base_of(queue)\n"                                                              \
    "  return base == queue and queue..isolated or base\n"                                         \
    "end\n"                                                                                        \
    "local function wake(queue)\n"                                                                 \
    "  call('PUBLISH', ns..(base_of(queue) == queue and ':wake' or ':wake-isolated'), queue)\n"    \
    "end\n"                                                                                        \
    "local function skip_key(kin) return ns..':skip:'..string.sub(kin, 2) end\n"                   \
    "local function now_ms()\n"                                                                    \
    "  local time = call('TIME')\n"                                                                \
    "  return time[1] * 1000 + math.floor(time[2] / 1000)\n"                                       \
    "end\n"                                                                                        \
    "local function place_of(claim)\n"                                                             \
    "  local score, queue = string.match(claim, '^([^:]+):(.*)$', 17)\n"                           \
    "  call('ZCARD', queue_key(queue))\n"                                                          \
    "  return score, queue\n"                                                                      \
    "end\n"                                                                                        \
    "local function run(command, key, args)\n"                                                     \
    "  if #args > 0 then call(command, key, unpack(args)) end\n"                                   \
    "end\n"                                                                                        \
    "local function put_back(places)\n"                                                            \
    "  for _, place in ipairs(places) do\n"                                                        \
    "    call('ZADD', queue_key(place[2]), place[1], place[3])\n"                                  \
    "    call('SADD', queues_key, place[2])\n"                                                     \
    "  end\n"                                                                                      \
    "end\n"

/* (id, starts, score, queue)... */
struct redis_script script_push = {
    .name = "push",
    .text = PRELUDE
    "call('ZCARD', lease_key) call('SCARD', queues_key)\n"
    "local ids = {}\n"
    "for i = 1, #ARGV, 4 do ids[#ids + 1] = ARGV[i] end\n"
    "local had = call('HMGET', starts_key, unpack(ids))\n"
    "local held = call('HMGET', claimed_key, unpack(ids))\n"
    "local queues, order, moved = {}, {}, {}\n"
    "local freed, fresh, started = {}, {}, {}\n"
    "for n, id in ipairs(ids) do\n"
    "  local at = n * 4 - 3\n"
    "  local starts, queue = ARGV[at + 1], ARGV[at + 3]\n"
    "  local adds = queues[queue]\n"
    "  if not adds then\n"
    "    call('ZCARD', queue_key(queue)) call('ZCARD', queue_key(twin_of(queue)))\n"
    "    adds = {} queues[queue] = adds order[#order + 1] = queue\n"
    "    moved[queue] = {}\n"
    "  end\n"
    "  local older, newer = tonumber(had[n] or 0), tonumber(starts)\n"
    "  local keep = false\n"
    "  if held[n] then keep = older >= newer\n"
    /* A count left behind without its hint says nothing: only a hint that waits outranks. */
    "  elseif older > newer then\n"
    "    keep = call('ZSCORE', queue_key(queue), id) or call('ZSCORE', queue_key(twin_of(queue)), "
    "id)\n"
    "  end\n"
    "  if not keep then\n"
    "    if held[n] then freed[#freed + 1] = id end\n"
    "    if newer > 0 then started[#started + 1] = id started[#started + 1] = starts\n"
    "    elseif had[n] then fresh[#fresh + 1] = id end\n"
    "    adds[#adds + 1] = ARGV[at + 2] adds[#adds + 1] = id\n"
    "    table.insert(moved[queue], id)\n"
    "  end\n"
    "end\n"
    "run('HDEL', claimed_key, freed) run('ZREM', lease_key, freed)\n"
    "run('HDEL', starts_key, fresh) run('HSET', starts_key, started)\n"
    "for _, queue in ipairs(order) do\n"
    "  if #queues[queue] > 0 then\n"
    "    run('ZREM', queue_key(twin_of(queue)), moved[queue])\n"
    "    call('ZADD', queue_key(queue), unpack(queues[queue]))\n"
    "    call('SADD', queues_key, queue)\n"
    "    wake(queue)\n"
    "  end\n"
    "end\n"
    "return 0\n",
};

/* incarnation, token, max, kin, queue... -> epoch, more, then for each queue drawn from: its name,
 * (id, score)..., starts or nil of each. Popped members that are no ids are dropped: they name no
 * task. What the kin skips is passed over, 2000 hints deep. */
struct redis_script script_claim = {
    .name = "claim",
    .text = PRELUDE
    "local now = now_ms()\n"
    "local answer = { call('GET', ns..':epoch') or '', 0 }\n"
    "local expired = call('ZRANGEBYSCORE', lease_key, '-inf', now, 'LIMIT', 0, 100)\n"
    "local ahead = '('..now + 10000\n"
    "for _, id in ipairs(call('ZRANGEBYSCORE', lease_key, ahead, '+inf', 'LIMIT', 0, 100)) do\n"
    "  expired[#expired + 1] = id\n"
    "end\n"
    "local back = {}\n"
    "if #expired > 0 then\n"
    "  call('SCARD', queues_key)\n"
    "  for n, claim in ipairs(call('HMGET', claimed_key, unpack(expired))) do\n"
    "    if claim then\n"
    "      local score, queue = place_of(claim)\n"
    "      back[#back + 1] = { score, queue, expired[n] }\n"
    "    end\n"
    "  end\n"
    "end\n"
    "call('HLEN', claimed_key) call('HLEN', starts_key)\n"
    "local skip = skip_key(ARGV[4])\n"
    "local skips = call('ZCOUNT', skip, now, now + 4000) > 0\n"
    "local paused = call('SCARD', ns..':paused') > 0\n"
    "for i = 5, #ARGV do call('ZCARD', queue_key(ARGV[i])) end\n"
    "local runners = ns..':runners'..(base_of(ARGV[5]) == ARGV[5] and '' or isolated)\n"
    "call('ZREMRANGEBYSCORE', runners, '-inf', now - 5000)\n"
    "call('ZREMRANGEBYSCORE', runners, '('..now, '+inf')\n"
    "call('ZADD', runners, now, ARGV[1])\n"
    "local live = call('ZCARD', runners)\n"
    "put_back(back)\n"
    "run('HDEL', claimed_key, expired) run('ZREM', lease_key, expired)\n"
    "local function take(key, most)\n"
    "  if not skips then return call('ZPOPMIN', key, most) end\n"
    "  local taken, ids, at = {}, {}, 0\n"
    "  repeat\n"
    "    local page = call('ZRANGE', key, at, at + 99, 'WITHSCORES')\n"
    "    for n = 1, #page, 2 do\n"
    "      local until_ms = call('ZSCORE', skip, page[n])\n"
    "      local left = until_ms and tonumber(until_ms) - now\n"
    "      if #ids < most and not (left and left >= 0 and left <= 4000) then\n"
    "        ids[#ids + 1] = page[n]\n"
    "        taken[#taken + 1] = page[n] taken[#taken + 1] = page[n + 1]\n"
    "      end\n"
    "    end\n"
    "    at = at + 100\n"
    "  until #page < 200 or #ids == most or at == 2000\n"
    "  run('ZREM', key, ids)\n"
    "  return taken\n"
    "end\n"
    "local left, more = tonumber(ARGV[3]), 0\n"
    "for i = 5, #ARGV do\n"
    "  local queue = ARGV[i]\n"
    "  local key = queue_key(queue)\n"
    "  local waiting = call('ZCARD', key)\n"
    "  if waiting > 0\n"
    "    and not (paused and call('SISMEMBER', ns..':paused', base_of(queue)) == 1) then\n"
    "    local share = math.min(left, math.max(1, math.ceil(waiting / live)))\n"
    "    local ids, claims, leases = {}, {}, {}\n"
    "    local taken = share > 0 and take(key, share) or {}\n"
    "    if #taken > 0 then\n"
    "      for at = 1, #taken, 2 do\n"
    "        local id = taken[at]\n"
    "        ids[#ids + 1] = id\n"
    "        if #id == 16 then\n"
    "          claims[#claims + 1] = id claims[#claims + 1] = ARGV[2]..taken[at + 1]..':'..queue\n"
    "          leases[#leases + 1] = now + 10000 leases[#leases + 1] = id\n"
    "        end\n"
    "      end\n"
    "      run('HSET', claimed_key, claims) run('ZADD', lease_key, leases)\n"
    "      answer[#answer + 1] = queue answer[#answer + 1] = taken\n"
    "      answer[#answer + 1] = call('HMGET', starts_key, unpack(ids))\n"
    "      left = left - #ids\n"
    "    end\n"
    "    if waiting > share and #ids == share then more = 1 break end\n"
    "  end\n"
    "end\n"
    "answer[2] = more\n"
    "return answer\n",
};

/* (id, token, "" to forget or the milliseconds until it may be seen again or the kin that shall
 * pass it over or ">" and the queue that it moves to)... */
struct redis_script script_settle = {
    .name = "settle",
    .text = PRELUDE "call('HLEN', starts_key) call('ZCARD', lease_key) call('SCARD', queues_key)\n"
                    "local ids = {}\n"
                    "for i = 1, #ARGV, 3 do ids[#ids + 1] = ARGV[i] end\n"
                    "local held = call('HMGET', claimed_key, unpack(ids))\n"
                    "local now = now_ms()\n"
                    "local freed, gone, parked, leases, back = {}, {}, {}, {}, {}\n"
                    "local kins, woken = {}, {}\n"
                    "for n, id in ipairs(ids) do\n"
                    "  local claim, token, wait = held[n], ARGV[n * 3 - 1], ARGV[n * 3]\n"
                    "  if claim and string.sub(claim, 1, 16) == token then\n"
                    "    if wait == '' then\n"
                    "      freed[#freed + 1] = id gone[#gone + 1] = id\n"
                    "    elseif wait == '0' or string.find(wait, '^[->]') then\n"
                    "      local score, queue = place_of(claim)\n"
                    "      if string.sub(wait, 1, 1) == '>' then\n"
                    "        queue = string.sub(wait, 2)\n"
                    "        call('ZCARD', queue_key(queue)) woken[queue] = true\n"
                    "      elseif wait ~= '0' then\n"
                    "        if not kins[wait] then call('ZCARD', skip_key(wait)) end\n"
                    "        local skips = kins[wait] or {}\n"
                    "        kins[wait] = skips woken[queue] = true\n"
                    "        skips[#skips + 1] = now + 4000 skips[#skips + 1] = id\n"
                    "      end\n"
                    "      freed[#freed + 1] = id back[#back + 1] = { score, queue, id }\n"
                    "    else\n"
                    "      parked[#parked + 1] = id\n"
                    "      parked[#parked + 1] = string.rep('\\0', 16)..string.sub(claim, 17)\n"
                    "      leases[#leases + 1] = now + wait leases[#leases + 1] = id\n"
                    "    end\n"
                    "  end\n"
                    "end\n"
                    "run('HDEL', claimed_key, freed) run('ZREM', lease_key, freed)\n"
                    "run('HDEL', starts_key, gone)\n"
                    "run('HSET', claimed_key, parked) run('ZADD', lease_key, leases)\n"
                    "put_back(back)\n"
                    "for kin, skips in pairs(kins) do\n"
                    "  call('ZREMRANGEBYSCORE', skip_key(kin), '-inf', now)\n"
                    "  call('ZADD', skip_key(kin), unpack(skips))\n"
                    "  call('PEXPIRE', skip_key(kin), 4000)\n"
                    "end\n"
                    "for queue in pairs(woken) do wake(queue) end\n"
                    "return 0\n",
};

/* (id, starts, score, queue)... What is newer stays: of one task the later hint has the higher
 * score, since its priority never changes. */
struct redis_script script_forget = {
    .name = "forget",
    .text = PRELUDE
    "call('ZCARD', lease_key)\n"
    "local ids = {}\n"
    "for i = 1, #ARGV, 4 do ids[#ids + 1] = ARGV[i] end\n"
    "local had = call('HMGET', starts_key, unpack(ids))\n"
    "local held = call('HMGET', claimed_key, unpack(ids))\n"
    "local freed, gone, places = {}, {}, {}\n"
    "for n, id in ipairs(ids) do\n"
    "  local at = n * 4 - 3\n"
    "  local most, queue = tonumber(ARGV[at + 2]), ARGV[at + 3]\n"
    "  local stays = tonumber(had[n] or 0) > tonumber(ARGV[at + 1])\n"
    "  local function is_old(score)\n"
    "    if score and tonumber(score) > most then stays = true end\n"
    "    return score and not stays\n"
    "  end\n"
    "  for _, key in ipairs({ queue_key(queue), queue_key(twin_of(queue)) }) do\n"
    "    if is_old(call('ZSCORE', key, id)) then places[#places + 1] = { key, id } end\n"
    "  end\n"
    "  if is_old(held[n] and (string.match(held[n], '^([^:]+):', 17) or 0)) then\n"
    "    freed[#freed + 1] = id\n"
    "  end\n"
    "  if not stays then gone[#gone + 1] = id end\n"
    "end\n"
    "run('HDEL', claimed_key, freed) run('ZREM', lease_key, freed) run('HDEL', starts_key, gone)\n"
    "for _, place in ipairs(places) do call('ZREM', place[1], place[2]) end\n"
    "return 0\n",
};

/* (id, starts, queue)... -> one letter each: 1 present, 0 not. A hint of an older start is none. */
struct redis_script script_present = {
    .name = "present",
    .text = PRELUDE "local ids, letters = {}, {}\n"
                    "for i = 1, #ARGV, 3 do ids[#ids + 1] = ARGV[i] end\n"
                    "local had = call('HMGET', starts_key, unpack(ids))\n"
                    "local held = call('HMGET', claimed_key, unpack(ids))\n"
                    "for n, id in ipairs(ids) do\n"
                    "  local here = tonumber(had[n] or 0) >= tonumber(ARGV[n * 3 - 1])\n"
                    "    and (held[n] or call('ZSCORE', queue_key(ARGV[n * 3]), id))\n"
                    "  letters[n] = here and '1' or '0'\n"
                    "end\n"
                    "return table.concat(letters)\n",
};

/* -> claimed, then (queue, hints, paused)... */
struct redis_script script_counts = {
    .name = "counts",
    .text = PRELUDE "local answer = { call('HLEN', claimed_key) }\n"
                    "local seen = {}\n"
                    "for _, list in ipairs(call('SUNION', queues_key, ns..':paused')) do\n"
                    "  local queue = base_of(list)\n"
                    "  if not seen[queue] then\n"
                    "    seen[queue] = true\n"
                    "    answer[#answer + 1] = queue\n"
                    "    answer[#answer + 1] = call('ZCARD', queue_key(queue))\n"
                    "      + call('ZCARD', queue_key(twin_of(queue)))\n"
                    "    answer[#answer + 1] = call('SISMEMBER', ns..':paused', queue)\n"
                    "  end\n"
                    "end\n"
                    "return answer\n",
};

/* epoch -> 1, or 0 if it is not the one that was begun */
struct redis_script script_epoch_set = {
    .name = "epoch set",
    .text = PRELUDE "if call('GET', ns..':next') ~= ARGV[1] then return 0 end\n"
                    "call('SET', ns..':epoch', ARGV[1])\n"
                    "call('DEL', ns..':next')\n"
                    "return 1\n",
};

/* queue...: the whole set */
struct redis_script script_set_paused = {
    .name = "set paused",
    .text = PRELUDE "call('DEL', ns..':paused')\n"
                    "run('SADD', ns..':paused', ARGV)\n"
                    "return 0\n",
};

/* cursor, queue ("": the claimed hints) -> next cursor, then (member, starts, queue, "1" that it
 * comes back by itself)... of some of them. Reads only. */
struct redis_script script_scan = {
    .name = "scan",
    .text =
        PRELUDE "local queue = ARGV[2]\n"
                "local page = queue == '' and call('HSCAN', claimed_key, ARGV[1], 'COUNT', 500)\n"
                "  or call('ZSCAN', queue_key(queue), ARGV[1], 'COUNT', 500)\n"
                "local answer, members = { page[1] }, page[2]\n"
                "for at = 1, #members, 2 do\n"
                "  local id, of, returns = members[at], queue, '1'\n"
                "  if queue == '' then\n"
                "    of = string.match(members[at + 1], '^[^:]+:(.*)$', 17) or ''\n"
                "    returns = call('ZSCORE', lease_key, id) and '1' or '0'\n"
                "  end\n"
                "  answer[#answer + 1] = id\n"
                "  answer[#answer + 1] = call('HGET', starts_key, id) or '0'\n"
                "  answer[#answer + 1] = of answer[#answer + 1] = returns\n"
                "end\n"
                "return answer\n",
};

/* queue: forgets it and all that it holds */
struct redis_script script_drop_queue = {
    .name = "drop queue",
    .text = PRELUDE "call('DEL', queue_key(ARGV[1]))\n"
                    "call('DEL', queue_key(twin_of(ARGV[1])))\n"
                    "call('SREM', queues_key, ARGV[1], twin_of(ARGV[1]))\n"
                    "call('ZREM', ns..':runners', ARGV[2])\n"
                    "return 0\n",
};
