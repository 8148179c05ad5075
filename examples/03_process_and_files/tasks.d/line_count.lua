-- Runs programs and uses files: writes the text into the run's own directory, counts with sort and uniq, reads the file they leave.
local fs      = require "ctutor.fs"
local process = require "ctutor.process"

return {
  summary = "Counts how often each line occurs",
  params  = { text = { type = "string", maxLength = 100000 } },
  execute = function(ctx, params)
    local directory = fs.tempdir() -- gone when the run ends, however it ends
    assert(fs.write(directory .. "/input", params.text))

    local result, message = process.run {
      "sh", "-c", "sort input | uniq -c | sort -rn > counts", timeout = "10s", -- cwd: the run's directory
    }
    if not result then return nil, message end -- could not be started
    if result.code ~= 0 then return nil, result.stderr end

    local lines = require("ctutor.json").array {}
    for count, line in assert(fs.read(directory .. "/counts")):gmatch("(%d+) ([^\n]*)\n") do
      lines[#lines + 1] = { line = line, count = tonumber(count) }
    end
    ctx.info("counted in " .. directory)
    return { lines = lines }
  end,
}
