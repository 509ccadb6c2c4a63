"""What a wheel of kcompile has and a checkout has not.

The runtime is also a distribution of its own (`runtime/pyproject.toml`), and both may be installed side by
side, as by a package that needs the runtime alone. No file may belong to both then: pip would overwrite it
silently, and would take it from one with the other. So a wheel of kcompile has the runtime in a folder of its
own, `kcompile/_bundled`, to which a .pth in site-packages points. site-packages comes first: where
kcompile-runtime is installed, that is imported, and `import kcompile` refuses one of another version.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class Bundle(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        built = Path(self.build_lib)
        bundled = built / "kcompile" / "_bundled"
        shutil.rmtree(bundled, ignore_errors=True)
        bundled.mkdir()
        (built / "kcompile_runtime").rename(bundled / "kcompile_runtime")
        (built / "kcompile_runtime.pth").write_text("kcompile/_bundled\n")
        version = built / "kcompile" / "version.py"
        version.unlink()  # where it is a link to the checkout's
        version.write_text(f'"""The version."""\n\n__version__ = "{self.distribution.get_version()}"\n')


setup(cmdclass={"build_py": Bundle})
