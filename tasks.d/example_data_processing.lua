-- Stands for a pipeline: fetch, process, store. The work is a sleep whose length depends on the kind; `speed` shortens it.
local SECONDS = { basic = 5, advanced = 15, complex = 30 }
local STAGES = { "fetching", "processing", "storing" }

return {
  name    = "example_data_processing",
  summary = "Pretends to process a data source",
  queue   = "default",
  timeout = "1h",
  params  = {
    data_source     = { type = "string", minLength = 1, description = "where the data come from" },
    processing_type = { type = "string", enum = { "basic", "advanced", "complex" }, default = "basic" },
    speed           = { type = "number", default = 1, exclusiveMinimum = 0, maximum = 1000,
                        description = "how many times faster than real" },
  },
  execute = function(ctx, params)
    local seconds = SECONDS[params.processing_type] / params.speed
    for i, stage in ipairs(STAGES) do
      ctx.progress(100 * (i - 1) / #STAGES, { stage = stage })
      ctx.sleep(seconds / #STAGES)
    end
    ctx.progress(100, { stage = "done" })
    return {
      status          = "completed",
      data_source     = params.data_source,
      processing_type = params.processing_type,
      processing_time = seconds,
    }
  end,
}
