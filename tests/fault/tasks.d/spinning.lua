local effects = require "effects"

return {
  timeout = 1,
  execute = function(ctx)
    effects.note(ctx, "start")
    while true do end
  end,
  on_failure = function(ctx) effects.note(ctx, "failure_hook") end,
}
