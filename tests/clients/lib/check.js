// Compares what a client got with what it should have got, and counts.
let passed = 0;
let failed = 0;

function check(name, got, expected) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(expected)];
  if (a === b) {
    passed += 1;
  } else {
    failed += 1;
    console.log(`FAILED ${name}: got ${a}, expected ${b}`);
  }
}

// Runs one part after the other, each with what is given to all; an exception ends only its own.
async function run(parts, ...given) {
  for (const part of parts) {
    try {
      await part(...given);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${part.name}: ${error}`);
    }
  }
}

// Prints the counts and ends the process.
function conclude() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

module.exports = { check, conclude, run };
