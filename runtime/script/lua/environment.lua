-- environment.lua: the names that task code finds as its globals. Loaded once per state, with the
-- real globals around it, which task code never sees.
--
-- Standard tables are proxies: userdata whose reads go to a private table of members, so that no
-- raw access can change what all tasks share. What is absent says so, and what to use instead,
-- when it is used.
local host = ... -- {wait, raise, print, running, refuse, interrupted}: tags and C functions

local error, pcall, type, tostring, select = error, pcall, type, tostring, select
local setmetatable, getmetatable, rawget, rawset = setmetatable, getmetatable, rawget, rawset
local WAIT, RAISE = host.wait, host.raise

local absent_functions = {
  dofile = "use require with a file in lib/",
  loadfile = "use require with a file in lib/",
  module = "return a table from the file instead",
  setfenv = "give load() an environment as its fourth argument",
  getfenv = "global names cannot be declared; use locals",
  newproxy = "use a table with a metatable",
}
local absent_tables = {
  io = "use ctutor.fs for files and print or ctx.log for output",
  ffi = "use ctutor.process to run native programs",
  jit = "the compiler is looked after by the runner",
  package = "require finds ctutor.*, cjson and the files in lib/",
}
local absent_members = {
  os = {
    execute = "use ctutor.process.run",
    exit = "return from execute, or call ctx.fatal",
    getenv = "pass what the task needs as a parameter",
    remove = "use ctutor.fs.remove",
    rename = "use ctutor.fs.copy and ctutor.fs.remove",
    tmpname = "use ctutor.fs.tempdir",
    setlocale = "the locale is fixed",
  },
  string = { dump = "bytecode is not loaded either" },
  debug = setmetatable({}, { __index = function() return "only debug.traceback is" end }),
}

local protected = setmetatable({}, { __mode = "k" }) -- proxy -> its members
local names = setmetatable({}, { __mode = "k" }) -- wrapped function -> how to call it in messages

local unavailable = "%s is not available in tasks: %s"
local function complain(name, instead) error(unavailable:format(name, instead), 3) end

-- missing(key), if given, is called for reads of what is not there.
local function readonly(name, members, missing)
  local proxy = newproxy(true)
  local metatable = getmetatable(proxy)
  if missing then setmetatable(members, { __index = function(_, key) return missing(key) end }) end
  metatable.__index = members
  metatable.__newindex = function() error(("'%s' is read-only"):format(name), 2) end
  metatable.__tostring = function() return name end
  metatable.__metatable = false
  protected[proxy] = members
  return proxy
end

local function standard(name, from)
  local members, absent = {}, absent_members[name] or {}
  for key, value in pairs(from) do
    if not absent[key] then members[key] = value end
  end
  -- Unknown names are nil, as usual: code asks `if table.unpack then`.
  return readonly(name, members, function(key)
    if absent[key] then error(unavailable:format(name .. "." .. tostring(key), absent[key]), 2) end
  end), members
end

local function absent_table(name, instead)
  return readonly(name, {}, function(key)
    error(unavailable:format(name .. "." .. tostring(key), instead), 2)
  end)
end

-- Coroutines of tasks ---------------------------------------------------------------------------
-- A wait yields WAIT to whoever resumed the coroutine. The functions below pass it up to the
-- runner and bring back what it answers, so a task's own yield and resume are never disturbed by
-- waiting.

local create, status = coroutine.create, coroutine.status
local resume, yield = coroutine.resume, coroutine.yield
local isyieldable, running = coroutine.isyieldable, coroutine.running
local waiting = setmetatable({}, { __mode = "k" })
local MOST_NESTED = 200 -- as in plain Lua: each level lies on the stack of C, which LuaJIT does not watch
local nesting = setmetatable({}, { __mode = "k" }) -- coroutine -> how deep it was resumed

local function pass(co, ok, first, ...)
  waiting[co] = nil
  if ok and first == WAIT then
    waiting[co] = true
    if not isyieldable() then return pass(co, resume(co, RAISE, host.refuse(), 2)) end
    return pass(co, resume(co, yield(WAIT)))
  end
  return ok, first, ...
end

local function resume_passing(co, ...)
  if type(co) == "thread" and waiting[co] then
    return false, "cannot resume a coroutine that waits"
  end
  if type(co) == "thread" then
    local depth = (nesting[running()] or 0) + 1
    if depth > MOST_NESTED then return false, "coroutines are nested too deep (200)" end
    nesting[co] = depth
  end
  return pass(co, resume(co, ...))
end

local function values_or_error(ok, ...)
  if ok then return ... end
  return error((...), 0)
end

local function wrap_passing(f)
  local co = create(f)
  return function(...) return values_or_error(resume_passing(co, ...)) end
end

-- Functions that wait ---------------------------------------------------------------------------
-- pcall keeps the position of a misuse out of this file: it is raised anew where the task called.

local function settle(wrapper, ok, ...)
  if ok and (...) ~= RAISE then return ... end
  local message, level = ..., 2 -- error is not tail-called: this is level 1, the task level 2
  if ok then
    message, level = select(2, ...)
  elseif type(message) == "string" and names[wrapper] then
    message = message:gsub("to '%?'", "to '" .. names[wrapper] .. "'", 1)
  end
  error(message, level)
end

local function wrap(f)
  local function wrapper(...) return settle(wrapper, pcall(f, ...)) end
  return wrapper
end

-- The names -------------------------------------------------------------------------------------

local base = {
  _VERSION = _VERSION, assert = assert, error = error, getmetatable = getmetatable, ipairs = ipairs,
  next = next, pcall = pcall, rawequal = rawequal, select = select,
  setmetatable = setmetatable, tonumber = tonumber, tostring = tostring, type = type,
  unpack = unpack,
}

function base.rawget(t, key) return rawget(protected[t] or t, key) end

function base.rawset(t, key, value)
  if protected[t] then error(("'%s' is read-only"):format(tostring(t)), 2) end
  return rawset(t, key, value)
end

-- The handler of an error runs before anything is unwound. When the error is the interrupt of a run
-- whose time is up, no second one would reach it: a handler that loops could not be stopped. An
-- error of the handler itself is what xpcall returns, not just "error in error handling".
local xpcall = xpcall
function base.xpcall(f, handler, ...)
  if type(handler) ~= "function" then return xpcall(f, handler, ...) end
  return xpcall(f, function(message)
    if host.interrupted() then return message end
    return select(2, pcall(handler, message))
  end, ...)
end

-- Standard tables are no tables here, but what is in them can be listed.
function base.pairs(t)
  local members = protected[t]
  if not members then return pairs(t) end
  return function(_, key) return next(members, key) end, t
end

function base.print(...)
  local texts = { ... }
  for i = 1, select("#", ...) do texts[i] = tostring(texts[i]) end
  host.print(table.concat(texts, "\t"))
end

local count_memory = collectgarbage
function base.collectgarbage(option)
  if option ~= "count" then
    complain("collectgarbage", "memory belongs to all tasks at once (only \"count\" is)")
  end
  return count_memory("count")
end

for name, instead in pairs(absent_functions) do
  base[name] = function() complain(name, instead) end
end
for name, instead in pairs(absent_tables) do
  base[name] = absent_table(name, instead)
end

table.unpack = unpack -- luacheck: ignore
function table.pack(...) return { n = select("#", ...), ... } end -- luacheck: ignore

base.math = standard("math", math)
base.table = standard("table", table)
base.bit = standard("bit", bit)
base.os = standard("os", {
  time = os.time, clock = os.clock, date = os.date, difftime = os.difftime,
})
base.debug = standard("debug", {})
protected[base.debug].traceback = debug.traceback
base.coroutine = standard("coroutine", {
  create = create, status = status, yield = yield, isyieldable = isyieldable,
  running = host.running, resume = resume_passing, wrap = wrap_passing,
})
local string_members
base.string, string_members = standard("string", string)
local text_metatable = getmetatable("")
text_metatable.__index = string_members
text_metatable.__metatable = false

local undefined = {
  __index = function(_, name) error(("undefined global '%s'"):format(tostring(name)), 2) end,
}
local function refuse_global(_, name)
  error(("assignment to undeclared global '%s'; declare it local"):format(tostring(name)), 2)
end

local function read_all(reader)
  local pieces = {}
  repeat
    local piece = reader()
    pieces[#pieces + 1] = piece
  until piece == nil or piece == ""
  return table.concat(pieces)
end

-- One per lib tree. compile(text, name) -> function in the environment made here, or nil, message.
local function environment(require, compile)
  local own = {}
  for name, value in pairs(base) do own[name] = value end
  function own.load(chunk, name, mode, env)
    if type(chunk) == "function" then chunk = read_all(chunk) end
    if type(chunk) ~= "string" then
      error("bad argument #1 to 'load' (text or function expected)", 2)
    end
    if mode ~= nil and not tostring(mode):find("t", 1, true) then
      return nil, "only text is loaded"
    end
    if env == own._G then env = nil end -- it is what the text finds anyway
    if env ~= nil and type(env) ~= "table" then
      error(("bad argument #4 to 'load' (table expected, got %s)"):format(type(env)), 2)
    end
    local f, message = compile(chunk, name or "=(load)")
    if f and env then setfenv(f, env) end
    return f, message
  end
  function own.loadstring(text, name) return own.load(text, name or text) end
  own.require = require
  own._G = readonly("_G", setmetatable(own, undefined))
  return setmetatable({}, { __index = own, __newindex = refuse_global, __metatable = false }), own
end

-- A binding's table as tasks see it. Ours are strict: a mistyped function is an error.
local function module(name, members)
  for key, value in pairs(members) do
    if type(value) == "function" then names[value] = name .. "." .. key end
  end
  local is_ours = name:sub(1, 7) == "ctutor."
  return readonly(name, members, is_ours and function(key)
    error(("%s has no '%s'"):format(name, tostring(key)), 2)
  end or nil)
end

return {
  environment = environment,
  module = module,
  wrap = wrap,
  absent = function(name) return absent_functions[name] or absent_tables[name] end,
  name = function(f, name) names[f] = name end,
}
