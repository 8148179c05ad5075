-- Fails on purpose, to see retries and errors; succeeds with should_fail = false.
return {
  name    = "example_failing",
  summary = "Fails, to show retries",
  queue   = "default",
  timeout = "1m",
  retries = { max = 2, backoff = "exponential", base = 1, cap = 10, jitter = true },
  params  = {
    should_fail   = { type = "boolean", default = true },
    error_message = { type = "string", default = "This task failed on purpose" },
  },
  execute = function(ctx, params)
    ctx.info("attempt " .. ctx.attempt .. " of " .. ctx.max_attempts)
    if params.should_fail then error(params.error_message, 0) end
    return { status = "completed", attempts = ctx.attempt }
  end,
}
