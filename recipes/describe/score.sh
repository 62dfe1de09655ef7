# Sourced by scripts/demo and model/make: scores of held-out rows as JSON files below $run. Wants $precis, $data, $run.

# evaluate MODEL ROWS NAME [OPTION...]: what the model writes of each row.
evaluate() { "$precis" evaluate "$1" --data "$2" --metrics rouge --quiet --format json "${@:4}" >"$run/$3.json"; }
# score PREDICTIONS REFERENCES NAME
score() { "$precis" evaluate --predictions "$1" --references "$2" --quiet --format json >"$run/$3.json"; }

# by_kind PREDICTIONS NAME: of the descriptions and of the manuals among the test rows.
by_kind() {
  local kind
  for kind in package manual; do
    grep -E "^\{\"id\": ?\"$kind/" "$1" >"$run/$kind-predictions.jsonl"
    grep -E "^\{\"id\": ?\"$kind/" "$data/test.jsonl" >"$run/$kind-references.jsonl"
    score "$run/$kind-predictions.jsonl" "$run/$kind-references.jsonl" "$2-$kind"
  done
}
# score_model MODEL NAME: of all test rows and by kind; what it writes is NAME.jsonl.
score_model() {
  evaluate "$1" "$data/test.jsonl" "$2" --output "$run/$2.jsonl"
  by_kind "$run/$2.jsonl" "$2"
}
# score_controls MODEL UNTRAINED
score_controls() {
  evaluate "$1" "$data/test-shuffled.jsonl" shuffled
  evaluate "$2" "$data/test.jsonl" untrained
}
# Of the first words.
score_lead() {
  score "$data/test-lead.jsonl" "$data/test.jsonl" lead
  by_kind "$data/test-lead.jsonl" lead
}
