"""Engine: what makes loops fast, and knows no VAE and no formula of the chapter."""
