"""Networks: modules built from architectures, with torch and torchvision.ops only."""
