// Questions that the small model which ships can work out. Their CoTs are wrong, but for the last.

export const EXAMPLES = [
  {
    title: "Loaves: a product gone wrong",
    question:
      "A baker makes 25 loaves every day for 6 days and then sells 110 of them. How many loaves are left?",
    cot: "25 * 6 = 160 loaves. 160 - 110 = 50. The answer is 50.",
  },
  {
    title: "Rope: minus for divided by",
    question: "A rope is 84 meters long. It is cut into 6 equal pieces. How long is each piece?",
    cot: "84 - 6 = 78 meters. The answer is 78.",
  },
  {
    title: "Pencils: a carry forgotten",
    question: "There are 14 boxes. Each box holds 6 pencils. How many pencils are there in all?",
    cot: "14 * 6 = 74 pencils. The answer is 74.",
  },
  {
    title: "Marbles: right already",
    question: "Ben has 34 marbles. He wins 17 more and then loses 9. How many marbles does he have?",
    cot: "34 + 17 = 51. 51 - 9 = 42. The answer is 42.",
  },
];
