-- How a submission of each language is built and started. Building happens in the sandbox, too.
local sandbox = require "grading.sandbox"
local text    = require "grading.text"

local M = {}

local GIGABYTE = 1024 * 1024 * 1024
local BUILD = { time = 60, memory = 2 * GIGABYTE, output = 16384 }
local SAID_BYTES = 2000 -- of what the compiler said

local function compile(program, standard, ending)
  local script = [[set -- ./*ENDING
[ -e "$1" ] || { echo "there is no *ENDING file in the submission" >&2; exit 1; }
exec PROGRAM -std=STANDARD -O1 -Wall -o program "$@" -lm]]
  return { "sh", "-c", (script:gsub("%u%u%u+", { ENDING = ending, PROGRAM = program, STANDARD = standard })) }
end

local PYTHON = [[[ -e main.py ] || { echo "there is no main.py in the submission" >&2; exit 1; }
exec /usr/bin/python3 -m py_compile main.py]]

M.known = {
  c      = { build = compile("gcc", "c11", ".c"), run = { "./program" } },
  cpp    = { build = compile("g++", "c++17", ".cpp"), run = { "./program" } },
  python = { build = { "sh", "-c", PYTHON }, run = { "/usr/bin/python3", "main.py" } },
}

-- Builds the files of `input` (tar files) and packs what comes of it into `product`. true, or nil and a message for the student.
function M.build(plan, input, product)
  local result, message = sandbox.make_product(product)
  if not result then return nil, "build failed: " .. message end
  result, message = sandbox.run { command = plan.build, input = input, product = product,
    time = BUILD.time, memory = BUILD.memory, output = BUILD.output }
  if not result then return nil, "build failed: " .. message end
  if result.timed_out then return nil, "build failed: it took longer than " .. BUILD.time .. " s" end
  if result.code ~= 0 then return nil, "build failed: " .. text.block(result.stderr .. result.stdout, SAID_BYTES) end
  return true
end

return M
