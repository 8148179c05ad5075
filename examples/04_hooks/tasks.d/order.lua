-- Hooks: what happens after the outcome is stored. They write a line each into a journal.
local fs = require "ctutor.fs"

local function note(ctx, text)
  assert(fs.append(ctx.params.journal, ctx.name .. ": " .. text .. "\n"))
end

return {
  summary = "Ships goods, or fails to",
  retries = { max = 1, backoff = "fixed", base = "50ms", jitter = false },
  params  = {
    goods   = "string",
    stock   = { type = "integer", default = 1, minimum = 0, description = "how many are there" },
    journal = { type = "string", minLength = 1, pattern = "^/", description = "file that the hooks write to" },
  },
  execute = function(ctx, params)
    if params.stock == 0 then error("out of stock: " .. params.goods, 0) end
    return { shipped = params.goods }
  end,
  on_success = function(ctx, result) note(ctx, "shipped " .. result.shipped) end,
  on_retry   = function(ctx, err) note(ctx, "attempt " .. ctx.attempt .. " failed: " .. err.message) end,
  on_failure = function(ctx, err) note(ctx, "given up, " .. err.kind .. ": " .. err.message) end,
}
