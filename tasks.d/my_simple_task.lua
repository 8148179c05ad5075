-- The smallest useful task: repeats a message, once a second, and reports progress.
return {
  name    = "my_simple_task",
  summary = "Repeats a message",
  queue   = "default",
  timeout = "30m",
  params  = {
    message = { type = "string", description = "what to repeat", examples = { "hello" } },
    count   = { type = "integer", default = 1, minimum = 1, maximum = 1000, description = "how often" },
  },
  execute = function(ctx, params)
    local results = {}
    for i = 1, params.count do
      ctx.sleep(1)
      results[i] = params.message .. " - iteration " .. i
      ctx.progress(100 * i / params.count, { done = i, of = params.count })
    end
    return { status = "completed", results = results, total_iterations = params.count }
  end,
}
