// Questions that the small model which ships can work out. Their CoTs are wrong, but for the last.

export const EXAMPLES = [
  {
    title: "Loaves: a product gone wrong",
    question:
      "A baker makes 25 loaves every day for 6 days and then sells 110 of them. How many loaves remain?",
    cot: "25 * 6 = 160 loaves. 160 - 110 = 50. The answer is 50.",
  },
  {
    title: "Eggs: a difference gone wrong",
    question:
      "A farmer has 120 eggs. He sells 45 in the morning and 38 in the afternoon. How many eggs does he have left?",
    cot: "45 + 38 = 83. 120 - 83 = 47. The answer is 47.",
  },
  {
    title: "Shirts: minus for plus",
    question: "Jack buys 3 shirts for 14 dollars each and a hat for 9 dollars. How much does he pay?",
    cot: "3 * 14 = 42. 42 - 9 = 33 dollars. The answer is 33.",
  },
  {
    title: "Jars: right already",
    question: "A shelf holds 9 rows of 7 jars. Mia takes 18 jars away. How many jars are on the shelf now?",
    cot: "9 * 7 = 63 jars. 63 - 18 = 45. The answer is 45.",
  },
];
