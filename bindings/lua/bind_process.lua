-- The readable half of ctutor.process: checks the options of run{...} and lays them out for `start` (process.c), which does no checking.
-- Loaded once per Lua state; nothing here keeps state between runs.
local start, full_path, duration, nearest = ...

local options_known = { "cwd", "env", "stdin", "timeout", "max_output", "limits" }
local limits_known = { "memory", "cpu", "file_size", "open_files", "processes" }
local unit_bytes = { [""] = 1, K = 1024, M = 1024 ^ 2, G = 1024 ^ 3 }
local most_output = 256 * 1024 ^ 2
local number_max = 2 ^ 53

-- Raises without a position: `run` adds its caller's.
local function refuse(text, ...)
  error(text:format(...), 0)
end

local function check_known(given, names, what)
  for name in pairs(given) do
    local known = type(name) == "number"
    for _, candidate in ipairs(names) do known = known or name == candidate end
    if not known then
      local near = type(name) == "string" and nearest(name, names)
      refuse("unknown %s %s%s", what, tostring(name), near and (", did you mean " .. near .. "?") or "")
    end
  end
end

local function as_text(value, what)
  if type(value) == "number" then
    local whole = value % 1 == 0 and value > -number_max and value < number_max
    return (whole and "%d" or "%.14g"):format(value)
  end
  if type(value) ~= "string" then refuse("%s is a text or a number, not a %s", what, type(value)) end
  return value
end

local function as_word(value, what)
  local text = as_text(value, what)
  if text:find("\0", 1, true) then refuse("%s contains a NUL byte", what) end
  return text
end

local function as_bytes(value, what)
  local bytes
  if type(value) == "number" then
    bytes = value
  elseif type(value) == "string" then
    local count, unit = value:match("^(%d+)([KMG]?)$")
    bytes = count and tonumber(count) * unit_bytes[unit]
  end
  if not bytes or not (bytes >= 0 and bytes <= number_max) then
    refuse('%s is a number of bytes or a size such as "256M"', what)
  end
  return math.floor(bytes)
end

local function as_microseconds(value, what)
  local us, message = duration(value)
  if not us then refuse("%s: %s", what, message) end
  if us == 0 then refuse("%s must be longer than 0", what) end
  return us
end

local function as_count(value, what)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 0 or value > number_max then
    refuse("%s is a whole number", what)
  end
  return value
end

local function argument_list(options)
  local words, count = {}, 0
  for index in pairs(options) do
    if type(index) == "number" then count = math.max(count, index) end
  end
  if count == 0 then refuse('the program is missing: run{ "git", "status" }') end
  for i = 1, count do
    if options[i] == nil then refuse("argument %d is nil", i) end
    words[i] = as_word(options[i], "argument " .. i)
  end
  if words[1] == "" then refuse("the program's name is empty") end
  return words
end

local function environment(given, home)
  local values = { PATH = "/usr/local/bin:/usr/bin:/bin", HOME = home, LANG = "C.UTF-8", TMPDIR = home }
  if given ~= nil and type(given) ~= "table" then refuse("env is a table, not a %s", type(given)) end
  for name, value in pairs(given or {}) do
    if type(name) ~= "string" or name == "" or name:find("[=%z]") then
      refuse("env: %s cannot be the name of a variable", tostring(name))
    end
    if name == "CTUTOR_RUN" then refuse("env: CTUTOR_RUN is set by ctutor-run itself") end
    values[name] = as_word(value, "env." .. name)
  end
  local entries = {}
  for name, value in pairs(values) do entries[#entries + 1] = name .. "=" .. value end
  return entries, values.PATH
end

local function limit_list(given)
  if given == nil then given = {} end
  if type(given) ~= "table" then refuse("limits is a table, not a %s", type(given)) end
  check_known(given, limits_known, "limit")
  if #given > 0 then refuse("limits are named: memory, cpu, file_size, open_files, processes") end
  local limit = function(name, read) return given[name] == nil and -1 or read(given[name], "limits." .. name) end
  local cpu = limit("cpu", as_microseconds)
  return {
    limit("memory", as_bytes),
    cpu < 0 and -1 or math.ceil(cpu / 1e6),
    limit("file_size", as_bytes),
    limit("open_files", as_count),
    limit("processes", as_count),
  }
end

-- What `start` takes; or nil, message, code when there is no directory to run in.
local function lay_out(options)
  if type(options) ~= "table" then refuse('takes one table: run{ "git", "status" }') end
  check_known(options, options_known, "option")
  local plan = {
    arguments = argument_list(options),
    timeout = options.timeout == nil and -1 or as_microseconds(options.timeout, "timeout"),
    max_output = options.max_output == nil and 1024 ^ 2 or as_bytes(options.max_output, "max_output"),
    limits = limit_list(options.limits),
    stdin = options.stdin ~= nil and as_text(options.stdin, "stdin") or nil,
  }
  if plan.max_output > most_output then refuse("max_output is 256M at most") end
  local cwd = options.cwd ~= nil and as_word(options.cwd, "cwd") or "."
  local home, message, code = full_path(".")
  if not home then return nil, message, code end
  plan.cwd = full_path(cwd)
  plan.environment, plan.path = environment(options.env, home)
  return plan
end

return function(options)
  local ok, plan, message, code = pcall(lay_out, options)
  if not ok then error("ctutor.process.run: " .. tostring(plan), 2) end
  if not plan then return nil, message, code end
  return start(plan.arguments, plan.environment, plan.path, plan.cwd, plan.stdin, plan.timeout, plan.max_output, plan.limits)
end
