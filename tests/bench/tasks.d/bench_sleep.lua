return { queue = "default", execute = function(ctx) ctx.sleep(1) end }
