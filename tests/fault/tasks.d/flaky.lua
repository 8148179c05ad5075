local effects = require "effects"

return {
  retries = { max = 5, backoff = "exponential", base = 0.1, cap = 1 },
  params = { failures = "integer" },
  execute = function(ctx, params)
    effects.work(ctx, 0.05)
    if ctx.failures < params.failures then error("not yet", 0) end
    return effects.done(ctx)
  end,
  on_retry = function(ctx) effects.note(ctx, "retry_hook") end,
  on_success = function(ctx) effects.note(ctx, "success_hook") end,
}
