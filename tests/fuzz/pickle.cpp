// Fuzzes the reader of pickles: whatever it lets through is a table whose indices hold.
#include "io/pickle.h"

#include "fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace precis;
  using Kind = PickleValue::Kind;
  static constexpr const char* kAllowed[] = {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2",
                                             "torch.FloatStorage", "m.f"};
  value_or_error({ErrorKind::kModel}, [&] {
    const Pickle pickle = parse_pickle(text_of(data, size), "pickle", kAllowed);
    require(pickle.size <= size && pickle.root < pickle.values.size());
    for (const PickleValue& value : pickle.values) {
      for (const PickleIndex index : value.items) require(index < pickle.values.size());
      if (value.kind == Kind::kDict) require(value.items.size() % 2 == 0);
      if (value.kind == Kind::kPersistent) require(value.items.size() == 1);
      if (value.kind != Kind::kCall) continue;
      require(value.items.size() == 2 && pickle.at(value.items[0]).kind == Kind::kGlobal &&
              pickle.at(value.items[1]).kind == Kind::kTuple);
    }
  });
  return 0;
}
