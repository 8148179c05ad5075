local time = require "ctutor.time"
return { queue = "default", execute = function() return time.now() end }
