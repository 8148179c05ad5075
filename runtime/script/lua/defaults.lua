-- defaults.lua: puts the defaults of a params schema into decoded parameters, in place, at every
-- depth. A null counts as not given, except where the schema allows null.
local null = ...

local function copy(value)
  if type(value) ~= "table" then return value end
  local out = setmetatable({}, debug.getmetatable(value)) -- keeps the mark of arrays
  for key, item in pairs(value) do out[key] = copy(item) end
  return out
end

local function contains(list, wanted)
  for _, item in ipairs(type(list) == "table" and list or {}) do
    if item == wanted then return true end
  end
  return false
end

local function admits_null(schema)
  return schema.type == "null" or schema.const == null
    or contains(schema.type, "null") or contains(schema.enum, null)
end

local fill

local function fill_property(value, name, schema)
  if value[name] == null and not admits_null(schema) then value[name] = nil end
  if value[name] == nil then value[name] = copy(schema.default) end
  fill(value[name], schema)
end

function fill(value, schema)
  if type(value) ~= "table" then return end
  for name, property in pairs(type(schema.properties) == "table" and schema.properties or {}) do
    fill_property(value, name, property)
  end
  if type(schema.items) == "table" then
    for _, item in ipairs(value) do fill(item, schema.items) end
  end
end

return fill
