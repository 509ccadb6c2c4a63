"""Packages of one model, for those who install and import: a wheel for Python, a package for JavaScript.

Enters: a model, and what `kcompile.export` takes. Leaves: a wheel, or a folder that `npm pack` makes a
package of. Each holds the exported library and what calls it.

    wheel   the wheel
    npm     the package for JavaScript, of the files of javascript/
    names   what packages may be called
"""
