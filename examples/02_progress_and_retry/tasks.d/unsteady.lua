-- Works in steps and tells how far it is; fails the first times, as a server that is being restarted would make it.
return {
  summary = "Fails until it works",
  timeout = "1m",
  retries = { max = 3, backoff = "exponential", base = "100ms", cap = "1s" },
  params  = {
    steps      = { type = "integer", default = 4, minimum = 1, maximum = 100, description = "how many pieces of work" },
    works_from = { type = "integer", default = 3, minimum = 1, description = "the attempt that is the first to succeed" },
  },
  execute = function(ctx, params)
    for step = 1, params.steps do
      ctx.sleep("50ms") -- waits without keeping anybody else from working
      ctx.progress(100 * step / params.steps, { step = step, of = params.steps })
      if step > 1 and ctx.attempt < params.works_from then
        return nil, "the server is away", { step = step } -- a failed attempt, the same as error(...)
      end
    end
    return { attempts = ctx.attempt, steps = params.steps }
  end,
}
