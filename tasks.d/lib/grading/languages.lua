-- How a submission of each language is built and started. Building happens in the sandbox, too.
local fs      = require "ctutor.fs"
local sandbox = require "grading.sandbox"

local M = {}

local GIGABYTE = 1024 * 1024 * 1024
local BUILD = { time = 60, memory = 2 * GIGABYTE, output = 16384 }

local function sources(directory, ending)
  local found = {}
  for _, name in ipairs(fs.list(directory) or {}) do
    if name:sub(-#ending) == ending then found[#found + 1] = name end
  end
  table.sort(found)
  return found
end

local function compiler(program, standard, ending)
  return function(directory)
    local files = sources(directory, ending)
    if #files == 0 then return nil, "there is no *" .. ending .. " file in the submission" end
    local command = { program, "-std=" .. standard, "-O1", "-Wall", "-o", "program" }
    for _, file in ipairs(files) do command[#command + 1] = "./" .. file end
    command[#command + 1] = "-lm"
    return command
  end
end

local function python(directory)
  if not fs.exists(directory .. "/main.py") then return nil, "there is no main.py in the submission" end
  return { "/usr/bin/python3", "-m", "py_compile", "main.py" }
end

M.known = {
  c      = { build = compiler("gcc", "c11", ".c"), run = { "./program" } },
  cpp    = { build = compiler("g++", "c++17", ".cpp"), run = { "./program" } },
  python = { build = python, run = { "/usr/bin/python3", "main.py" } },
}

-- Builds in place. true, or nil and a message for the student.
function M.build(plan, directory)
  local command, message = plan.build, nil
  if not command then command, message = M.known[plan.language].build(directory) end
  if not command then return nil, message end
  sandbox.open_up(directory)
  local result
  result, message = sandbox.run { command = command, directory = directory, writable = true,
    time = BUILD.time, memory = BUILD.memory, output = BUILD.output }
  if not result then return nil, "build failed: " .. message end
  if result.timed_out then return nil, "build failed: it took longer than " .. BUILD.time .. " s" end
  if result.code ~= 0 then return nil, "build failed: " .. result.stderr .. result.stdout end
  return true
end

return M
