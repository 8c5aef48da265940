import { createInterface } from 'node:readline';

// Answers every line on stdin with one line on stdout. What `handle` throws, `describe` turns into an answer.
export async function serve(handle, describe) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
      answer = await handle(request);
    } catch (error) {
      answer = { exception: error.constructor.name, message: String(error.message), ...(await describe(error)) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}
