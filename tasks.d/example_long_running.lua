-- Waits for a while and tells how far it is: ten times, evenly.
return {
  name    = "example_long_running",
  summary = "Waits, reporting progress",
  queue   = "default",
  timeout = "2h",
  params  = {
    duration = { type = "number", default = 60, minimum = 0, maximum = 3600, description = "seconds" },
    message  = { type = "string", default = "Long running task", description = "goes into the result" },
  },
  execute = function(ctx, params)
    local steps = 10
    for step = 1, steps do
      ctx.sleep(params.duration / steps)
      ctx.progress(100 * step / steps, { step = step, of = steps })
    end
    return { status = "completed", message = params.message, duration = params.duration }
  end,
}
