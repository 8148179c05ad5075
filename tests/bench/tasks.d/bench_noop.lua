return { queue = "default", params = { message = "string", count = "integer", pad = "string" }, execute = function() end }
