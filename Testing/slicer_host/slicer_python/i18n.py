"""slicer.i18n without translations: texts come back as they are, unless the application's translator knows better."""

import inspect
import os


def translate(context, text):
    from slicer import app

    return app.translate(context, text)


def getContext(sourceFile):
    """Context of a source file as lupdate names it: ``Module``, or ``Package.Module`` inside a package."""
    folder, name = os.path.split(sourceFile)
    stem = name.removesuffix(".py")
    inPackage = os.path.isfile(sourceFile) and os.path.isfile(os.path.join(folder, "__init__.py"))
    return f"{os.path.basename(folder)}.{stem}" if inPackage else stem


def tr(text):
    caller = inspect.currentframe().f_back
    return translate(getContext(caller.f_code.co_filename), text)
