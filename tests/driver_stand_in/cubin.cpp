// What a cubin says about its kernels. It is an ELF file: each kernel has its code in `.text.NAME`, its attributes in
// `.nv.info.NAME` and its static shared memory in `.nv.shared.NAME`.
#include "state.hpp"

#include <cstring>

namespace stand_in {
namespace {

template <typename T>
T at(const unsigned char *place) {
    T value;
    std::memcpy(&value, place, sizeof value);
    return value;
}

struct Section {
    std::string name;
    const unsigned char *data;
    uint64_t bytes;
};

std::vector<Section> sections_of(const unsigned char *image) {
    auto table = at<uint64_t>(image + 0x28);
    auto entry_bytes = at<uint16_t>(image + 0x3a);
    auto count = at<uint16_t>(image + 0x3c);
    auto names_index = at<uint16_t>(image + 0x3e);
    auto header = [&](unsigned index) { return image + table + uint64_t(index) * entry_bytes; };
    const unsigned char *names = image + at<uint64_t>(header(names_index) + 24);
    std::vector<Section> sections;
    for (unsigned index = 0; index < count; ++index) {
        const unsigned char *section = header(index);
        const char *name = reinterpret_cast<const char *>(names + at<uint32_t>(section));
        sections.push_back({name, image + at<uint64_t>(section + 24), at<uint64_t>(section + 32)});
    }
    return sections;
}

// Attributes are (format, number, 16 bits): format 4 has that many bytes behind it, the others have the value in place.
void read_attributes(const Section &section, Function &function) {
    uint64_t offset = 0;
    while (offset + 4 <= section.bytes) {
        const unsigned char *attribute = section.data + offset;
        auto format = attribute[0];
        auto number = attribute[1];
        auto value = at<uint16_t>(attribute + 2);
        offset += 4;
        if (format == 3 && number == 0x19) function.parameter_bytes = value;
        if (format == 4 && number == 0x05 && value == 12) {
            const unsigned char *most = section.data + offset;
            function.most_threads = at<uint32_t>(most) * at<uint32_t>(most + 4) * at<uint32_t>(most + 8);
        }
        if (format == 4) offset += value;
    }
}

}  // namespace

bool read_cubin(const unsigned char *image, Module &module, int &architecture) {
    constexpr uint16_t cuda_machine = 190;
    if (std::memcmp(image, "\177ELF", 4) != 0 || at<uint16_t>(image + 0x12) != cuda_machine) return false;
    architecture = (at<uint32_t>(image + 0x30) >> 8) & 0xff;
    const std::string text = ".text.";
    std::vector<Section> sections = sections_of(image);
    for (const Section &section : sections) {
        if (section.name.compare(0, text.size(), text) != 0) continue;
        auto function = std::make_unique<Function>();
        function->name = section.name.substr(text.size());
        function->module = &module;
        for (const Section &other : sections) {
            if (other.name == ".nv.info." + function->name) read_attributes(other, *function);
            if (other.name == ".nv.shared." + function->name) function->static_shared = unsigned(other.bytes);
        }
        function->dynamic_shared = 48 * 1024 - function->static_shared;
        module.functions.push_back(std::move(function));
    }
    return true;
}

}  // namespace stand_in
