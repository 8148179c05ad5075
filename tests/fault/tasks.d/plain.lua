local effects = require "effects"

return {
  params = { seconds = "number" },
  execute = function(ctx, params)
    effects.work(ctx, params.seconds)
    return effects.done(ctx)
  end,
}
