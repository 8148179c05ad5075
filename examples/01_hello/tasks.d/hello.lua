-- A whole task: what it takes, what it does, what it returns.
return {
  summary = "Greets somebody",
  params  = { name = "string" },
  execute = function(ctx, params)
    return { greeting = "Hello " .. params.name }
  end,
}
