# Two addons out of one file: the process that parses bytes cannot load BPF, the process that can parses none.
{
  "target_defaults": {
    "cflags_cc": ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-O3", "-g",
                  "-fno-exceptions", "-fvisibility=hidden", "-fstack-protector-strong", "-fstack-clash-protection",
                  "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"],
    "cflags_cc!": ["-std=gnu++20", "-std=gnu++17"],
    "ldflags": ["-Wl,-z,relro,-z,now", "-Wl,--no-undefined-version"],
    "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED",
                # A thread that is being terminated can throw nothing more: without this, trying ends the whole process.
                "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
    "include_dirs": ["<!@(node -p \"require('node-addon-api').include_dir\")", ".", "../bpf", "../build/bpf"],
  },
  "targets": [
    {
      "target_name": "keeper",
      "sources": ["<!@(find keeper shared -name '*.cc' | sort)"],
      "libraries": ["-lbpf"],
    },
    {
      "target_name": "engine",
      "sources": ["<!@(find engine shared -name '*.cc' | sort)"],
      "libraries": ["-lnghttp2"],
    },
  ],
}
