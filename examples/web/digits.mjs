// Reads a drawn digit by a compiled network, and trains its last layer on more of them.

export const SIDE = 32; // of a drawing
const BOX = 26; // the larger side of a digit in it

// What the network was trained on: 8 x 8 blocks, each the share of its 4 x 4 points that are drawn. drawing: SIDE x
// SIDE numbers, 0 for paper. The digit is moved to the middle and made as large as those were. Gives null for none.
export function shrink(drawing) {
  let [top, left, bottom, right] = [SIDE, SIDE, -1, -1];
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      if (drawing[y * SIDE + x] <= 0.5) continue;
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      [left, right] = [Math.min(left, x), Math.max(right, x)];
    }
  }
  if (bottom < 0) return null;
  const scale = Math.max(bottom - top + 1, right - left + 1) / BOX;
  const [middleY, middleX] = [(top + bottom + 1) / 2, (left + right + 1) / 2];
  const blocks = new Float32Array(64);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const fromY = Math.floor(middleY + (y + 0.5 - SIDE / 2) * scale);
      const fromX = Math.floor(middleX + (x + 0.5 - SIDE / 2) * scale);
      const inside = fromY >= 0 && fromY < SIDE && fromX >= 0 && fromX < SIDE;
      if (inside && drawing[fromY * SIDE + fromX] > 0.5) blocks[(y >> 2) * 8 + (x >> 2)] += 1 / 16;
    }
  }
  return blocks;
}

export class Reader {
  // model: what `load` of the model's package gives. Of what it learns, all layers but the last are frozen.
  constructor(model) {
    this.trainer = model.trainer();
  }

  // The probability of each digit.
  read(pixels) {
    return this.trainer.predict(1, [Float32Array.from(pixels)])[0];
  }

  // A few training steps of the last layer on all examples: [{pixels, digit}, ...]. Gives the loss before each.
  learn(examples, steps = 40) {
    const x = Float32Array.from(examples.flatMap(({ pixels }) => Array.from(pixels)));
    const y = Int32Array.from(examples, ({ digit }) => digit);
    return Array.from({ length: steps }, () => this.trainer.train(examples.length, [x, y]).loss);
  }
}
