-- analysis.lua: what a chunk does, read from its bytecode without running it: which globals it
-- reads and assigns, and which modules it requires. The numbers of the instructions are found by
-- compiling them.
local util, absent = ... -- jit.util; absent(name) -> what to use instead, or nil

local funcbc, funck, funcinfo = util.funcbc, util.funck, util.funcinfo
local band, rshift = bit.band, bit.rshift

local function opcode(source, pc) return band(funcbc(loadstring(source), pc), 0xff) end
local GGET, GSET = opcode("local a = b", 1), opcode("a = 1", 2)
local KSTR = opcode("local a = 'b'", 1)
local CALLS = { [opcode("a 'b'", 3)] = true, [opcode("return a 'b'", 3)] = true }
local LOADERS = { load = true, loadstring = true }

local function walk(proto, visit)
  local pc, ins = 1, funcbc(proto, 1)
  while ins do
    visit(proto, pc, band(ins, 0xff), ins)
    pc = pc + 1
    ins = funcbc(proto, pc)
  end
  for i = -1, -funcinfo(proto).gcconsts, -1 do
    local constant = funck(proto, i)
    if type(constant) == "proto" then walk(constant, visit) end
  end
end

local function constant(proto, ins) return funck(proto, -rshift(ins, 16) - 1) end

-- The text that is the whole argument of the call whose function was fetched at pc; nil: another
-- thing.
local function constant_argument(proto, pc)
  local argument, call = funcbc(proto, pc + 1), funcbc(proto, pc + 2)
  if call and band(argument, 0xff) == KSTR and CALLS[band(call, 0xff)] then
    return constant(proto, argument)
  end
end

-- What one chunk does. modules: those it requires by a constant name; is_open: it requires others
-- too.
local function read(chunk, file, known)
  local facts = { errors = {}, warnings = {}, modules = {}, is_open = false }
  local function note(list, proto, pc, text)
    list[#list + 1] = ("%s:%d: %s"):format(file, funcinfo(proto, pc).currentline, text)
  end
  walk(chunk, function(proto, pc, op, ins)
    if op ~= GGET and op ~= GSET then return end
    local name = constant(proto, ins)
    if op == GSET then
      local text = "assignment to undeclared global '%s'; declare it local"
      note(facts.errors, proto, pc, text:format(name))
    elseif rawget(known, name) == nil then
      note(facts.errors, proto, pc, ("undefined global '%s'"):format(name))
    elseif absent(name) then
      local text = "%s is not available in tasks: %s"
      note(facts.warnings, proto, pc, text:format(name, absent(name)))
    elseif name == "require" then
      local module = constant_argument(proto, pc)
      facts.modules[#facts.modules + 1] = module
      facts.is_open = facts.is_open or not module
    elseif LOADERS[name] then
      facts.is_open = true
    end
  end)
  return facts
end

local function append(list, more)
  for _, item in ipairs(more) do list[#list + 1] = item end
end

-- One per lib tree. known: the names of its environment; find(module) -> path, chunk or nil,
-- message; or nothing. The function made gives: errors, warnings, the paths used as a set,
-- whether others may be used too.
return function(known, find)
  local cache = {}

  local function visit(facts, found)
    append(found.errors, facts.errors)
    append(found.warnings, facts.warnings)
    found.is_open = found.is_open or facts.is_open
    for _, module in ipairs(facts.modules) do
      local path, chunk, message = find(module)
      if path and not found.used[path] then
        found.used[path] = true
        if chunk then
          cache[path] = cache[path] or read(chunk, "lib/" .. path, known)
          visit(cache[path], found)
        else
          append(found.errors, { message })
        end
      end
    end
  end

  return function(chunk, file)
    local found = { errors = {}, warnings = {}, used = {}, is_open = false }
    visit(read(chunk, file, known), found)
    return found.errors, found.warnings, found.used, found.is_open
  end
end
