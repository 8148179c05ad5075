local effects = require "effects"

return {
  params = { times = "integer" },
  execute = function(ctx, params)
    effects.work(ctx, 0.05)
    if ctx.attempt <= params.times then ctx.snooze(0.3, "later") end
    return effects.done(ctx)
  end,
}
