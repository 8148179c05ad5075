-- The subprocess writes the log too: none may go on when its run is over.
local effects = require "effects"
local process = require "ctutor.process"

local script = [[
for i in 1 2 3 4 5; do
  echo "$1 $2 tick $3 @$(date +%s.%N)" >>"$4"
  sleep 0.1
done
]]

return {
  execute = function(ctx)
    effects.note(ctx, "start")
    assert(process.run { "sh", "-c", script, "sh", ctx.id, tostring(ctx.attempt), ctx.worker, effects.path })
    return effects.done(ctx)
  end,
}
