-- What a run does to the world: a line in a file that no store knows of. One append, one write.
local fs = require "ctutor.fs"
local time = require "ctutor.time"

local path = require "place" -- written by the test: returns the path

local effects = { path = path }

function effects.note(ctx, word)
  local line = ("%s %d %s %s %.6f\n"):format(ctx.id, ctx.attempt, word, ctx.worker, time.monotonic())
  assert(fs.append(path, line))
end

-- The body of most tasks: a line at the start, one every 100 ms, one at the end.
function effects.work(ctx, seconds)
  effects.note(ctx, "start")
  local left = seconds
  while left > 0 do
    ctx.sleep(math.min(left, 0.1))
    left = left - 0.1
    if left > 0 then effects.note(ctx, "tick") end
  end
end

function effects.done(ctx)
  effects.note(ctx, "end")
  return { attempt = ctx.attempt, failures = ctx.failures }
end

return effects
