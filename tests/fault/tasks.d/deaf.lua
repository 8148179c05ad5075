-- Inside a C function that does not return: its process is killed, its neighbours are bystanders.
local effects = require "effects"

local hopeless = ("a"):rep(40)
local pattern = ("a-"):rep(20) .. "b"

return {
  timeout = 0.5,
  execute = function(ctx)
    effects.note(ctx, "start")
    return hopeless:find(pattern)
  end,
}
