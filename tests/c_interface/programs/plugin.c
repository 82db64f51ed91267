/* Loads the library by its name, as plugins do, and closes it: it stays, because threads of it may be running. */
#include <dlfcn.h>
#include <stdio.h>

int main(void) {
    void *library = dlopen("libsml.so", RTLD_NOW | RTLD_LOCAL);
    const char *(*version)(void);
    if (!library) return puts(dlerror()), 1;
    *(void **)&version = dlsym(library, "sml_version");
    printf("%s ", version());
    dlclose(library);
    puts(dlopen("libsml.so", RTLD_NOW | RTLD_NOLOAD) ? "stays" : "is gone");
    return 0;
}
