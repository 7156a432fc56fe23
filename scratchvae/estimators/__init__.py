"""§7.2.1–7.2.4 Gradient estimators of the bound: rules for cotangents."""
