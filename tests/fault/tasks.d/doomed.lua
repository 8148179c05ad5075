local effects = require "effects"

return {
  retries = { max = 1, backoff = "fixed", base = 0.2, jitter = false },
  execute = function(ctx)
    effects.work(ctx, 0)
    return nil, "never"
  end,
  on_failure = function(ctx) effects.note(ctx, "failure_hook") end,
}
