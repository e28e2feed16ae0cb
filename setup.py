"""setup.cfg describes the project. This adds what it has no words for."""

from glob import glob

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

STUBS = "chatgptfree-stubs"


class BuildWithStubs(build_py):
    """Add the types to what is installed.

    Type checkers trust the annotations of an installed package if it holds a file `py.typed`. A
    single module has no place for such a mark (PEP 561), but a package of stubs needs none. So the
    build makes one of the module itself: checkers pass over the bodies of functions in a stub.
    """

    def find_modules(self):
        # A package, a module in it, and the file to make it from.
        return [*super().find_modules(), (STUBS, "__init__", "chatgptfree.py")]

    def get_module_outfile(self, build_dir, package, module):
        path = super().get_module_outfile(build_dir, package, module)
        if package == [STUBS]:
            path += "i"
        return path


class SourcesWithTests(sdist):
    """Add the tests, and what the README shows and names, to the archive of the sources."""

    def make_release_tree(self, base_dir, files):
        more = ["test_chatgptfree.py", ".ruff.toml", *glob(".ci/*"), *glob(".github/*.*")]
        super().make_release_tree(base_dir, [*files, *more])


setup(cmdclass={"build_py": BuildWithStubs, "sdist": SourcesWithTests})
