// Fuzzes the strict YAML reader.
#include "io/yaml.h"

#include "fuzz/target.h"

namespace precis {
namespace {

// Every way to take a value from it.
void take_all(const YamlNode& node) {
  require(node.line >= 1 && node.column >= 1);
  describe(node);
  value_or_error({ErrorKind::kConfig}, [&] { yaml_integer(node, "key"); });
  value_or_error({ErrorKind::kConfig}, [&] { yaml_real(node, "key"); });
  value_or_error({ErrorKind::kConfig}, [&] { yaml_boolean(node, "key"); });
  value_or_error({ErrorKind::kConfig}, [&] { yaml_string(node, "key"); });
  for (const YamlNode& item : node.items) take_all(item);
  for (const YamlMember& member : node.members) {
    require(node.find(member.key) == &member.value);  // no key comes twice
    take_all(member.value);
  }
}

}  // namespace
}  // namespace precis

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace precis;
  value_or_error({ErrorKind::kConfig}, [&] {
    const YamlNode node = parse_yaml(text_of(data, size), "yaml");
    take_all(node);
    parse_json(dump_json(to_json(node)), "json", ErrorKind::kInternal);
  });
  return 0;
}
